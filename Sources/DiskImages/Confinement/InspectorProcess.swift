import CConfinement
import Execution
import Glibc
import JSON

/// A run of `aloft-inspect`. Blocks; for a thread that may.
struct InspectorProcess {
  private let pid: pid_t
  private let output: Int32
  private var answer: [UInt8] = []

  /// More than any answer has.
  private static let answerLimit = 64 << 10

  /// Starts it with the image as descriptor 3 and nothing else but its output.
  init(program: String, order: InspectionOrder, image: Int32) throws(InspectionFailure) {
    guard let argument = try? JSONCoder.encode(order) else { throw .cannotStart(errno: EINVAL) }
    // A pipe could not be made close-on-exec at once, and a child of another thread would keep it open.
    var ends: [Int32] = [-1, -1]
    guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
      throw .cannotStart(errno: errno)
    }
    let (reader, writer) = (ends[0], ends[1])
    defer { close(writer) }

    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var (none, all) = (sigset_t(), sigset_t())
    sigemptyset(&none)
    sigfillset(&all)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &all)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

    var files = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&files)
    defer { posix_spawn_file_actions_destroy(&files) }
    // The writer first: either may be one of the numbers that are given out here.
    let spare = max(image, writer, 10) + 1
    posix_spawn_file_actions_adddup2(&files, writer, spare)
    posix_spawn_file_actions_adddup2(&files, image, 3)
    posix_spawn_file_actions_adddup2(&files, spare, 1)
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0)
    posix_spawn_file_actions_addclosefrom_np(&files, 4)

    // Nothing of the environment; the runtime's crash reports would only start a program that is not allowed to.
    let arguments = [strdup(program), strdup(String(decoding: argument, as: UTF8.self)), nil]
    let environment = (["SWIFT_BACKTRACE=enable=no"] + Self.libraryPath).map { strdup($0) } + [nil]
    defer { for string in arguments + environment { free(string) } }
    var pid: pid_t = 0
    let code = posix_spawn(&pid, program, &files, &attributes, arguments, environment)
    guard code == 0 else {
      close(reader)
      throw .cannotStart(errno: code)
    }
    self.pid = pid
    output = reader
  }

  /// Where the Swift runtime is, if this process had to be told.
  private static var libraryPath: [String] {
    getenv("LD_LIBRARY_PATH").map { ["LD_LIBRARY_PATH=" + String(cString: $0)] } ?? []
  }

  /// Takes the answer, and ends the process if it is late or not wanted any more.
  mutating func wait(
    until deadline: ContinuousClock.Instant, _ wakeup: Wakeup, isCancelled: () -> Bool
  ) throws(InspectionFailure) -> Inspection {
    let interruption = readAnswer(until: deadline, wakeup, isCancelled)
    close(output)
    if interruption != nil { kill(pid, SIGKILL) }
    var (status, usage): (Int32, rusage) = (0, rusage())
    while wait4(pid, &status, 0, &usage) < 0, errno == EINTR {}
    if let interruption { throw interruption }
    let signal = status & 0x7F
    if signal == SIGXCPU { throw .outOfTime }
    let cpuTime =
      Duration.seconds(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
      + .microseconds(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec)
    guard signal == 0 else { throw .died(signal: signal) }
    guard let answer = try? JSONCoder.decode(InspectionAnswer.self, from: answer) else {
      throw .noAnswer(status: status >> 8 & 0xFF)
    }
    if let failure = answer.failure { throw .notConfined(failure) }
    let verdict: Result<ImageReport, ImageRefusal>
    switch (answer.report, answer.refusal) {
    case (let report?, nil): verdict = .success(report)
    case (nil, let refusal?): verdict = .failure(refusal)
    default: throw .noAnswer(status: status >> 8 & 0xFF)
    }
    return Inspection(
      verdict: verdict, peakResidentBytes: answer.peakResidentBytes, cpuTime: cpuTime,
      measures: Set(answer.measures))
  }

  /// Reads until the process closes its output; nil then.
  private mutating func readAnswer(
    until deadline: ContinuousClock.Instant, _ wakeup: Wakeup, _ isCancelled: () -> Bool
  ) -> InspectionFailure? {
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      if isCancelled() { return .cancelled }
      let left = ContinuousClock.now.duration(to: deadline)
      guard left > .zero else { return .outOfTime }
      var entries = [
        pollfd(fd: output, events: Int16(POLLIN), revents: 0),
        pollfd(fd: wakeup.descriptor, events: Int16(POLLIN), revents: 0),
      ]
      guard poll(&entries, 2, left.pollMilliseconds) > 0, entries[0].revents != 0 else { continue }
      let count = read(output, &buffer, buffer.count)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { return nil }
      guard answer.count + count <= Self.answerLimit else { return .noAnswer(status: -1) }
      answer += buffer[..<count]
    }
  }
}
