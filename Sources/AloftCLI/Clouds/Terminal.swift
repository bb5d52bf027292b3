import Execution
import Glibc

/// The terminal of the person who runs the program, whatever standard input is.
enum Terminal {
  /// The line that is typed; nil without a terminal, or when the task was cancelled. The terminal is left as it was.
  static func ask(_ prompt: String, isHidden: Bool) async -> String? {
    let gone = CancellationFlag()
    return await withTaskCancellationHandler {
      await DedicatedThread(name: "terminal").run { askBlocking(prompt, isHidden, gone) }
    } onCancel: {
      gone.set()
    }
  }

  private static func askBlocking(_ prompt: String, _ isHidden: Bool, _ gone: CancellationFlag) -> String? {
    let descriptor = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var before = termios()
    guard tcgetattr(descriptor, &before) == 0 else { return nil }
    if isHidden {
      var silent = before
      silent.c_lflag &= ~tcflag_t(ECHO)
      guard tcsetattr(descriptor, TCSAFLUSH, &silent) == 0 else { return nil }
    }
    defer {
      if isHidden {
        tcsetattr(descriptor, TCSAFLUSH, &before)
        write(descriptor, "\n")
      }
    }
    write(descriptor, prompt)
    return line(descriptor, gone)
  }

  private static func line(_ descriptor: Int32, _ gone: CancellationFlag) -> String? {
    var bytes: [UInt8] = []
    while !gone.isSet {
      var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      guard poll(&ready, 1, 100) > 0 else { continue }
      var chunk = [UInt8](repeating: 0, count: 1024)
      let count = read(descriptor, &chunk, chunk.count)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return nil }
      bytes += chunk[..<count]
      if let end = bytes.firstIndex(of: UInt8(ascii: "\n")) { return String(decoding: bytes[..<end], as: UTF8.self) }
      guard bytes.count < 16 << 10 else { return nil }
    }
    return nil
  }

  private static func write(_ descriptor: Int32, _ text: String) {
    let bytes = Array(text.utf8)
    _ = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
  }
}
