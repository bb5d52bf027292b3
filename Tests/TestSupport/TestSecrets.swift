import Glibc
import Logging

// That no secret reaches a log is proven by looking: while `ALOFT_TEST_SECRETS` and `ALOFT_TEST_LOGS` name folders (scripts/test
// makes them), tests write down every secret that they make or are given, whatever can log does so with all its detail to a
// file, and scripts/test looks for the ones in the others.

/// The secrets that tests made.
public enum TestSecrets {
  /// What is shorter may stand in a log by chance.
  private static let shortest = 12

  private static let file = folder("ALOFT_TEST_SECRETS").map { "\($0)/\(getpid())" }

  /// Whether anybody wants to know.
  public static var areKept: Bool { file != nil }

  /// Writes a secret down. Of several lines, such as a private key in PEM, each is one; lines that any key has are none.
  public static func register(_ secret: String) {
    guard let file else { return }
    for line in secret.split(whereSeparator: \.isNewline)
    where line.utf8.count >= shortest && !line.hasPrefix("-----") && !line.hasPrefix("#") {
      append("\(line)\n", to: file)
    }
  }

  fileprivate static func folder(_ variable: String) -> String? {
    guard let value = getenv(variable), value.pointee != 0 else { return nil }
    return String(cString: value)
  }

  fileprivate static func append(_ text: String, to path: String) {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    // One call: lines of several tests do not mix.
    _ = text.withCString { write(descriptor, $0, strlen($0)) }
  }
}

/// Where logs of tests go.
public enum TestLogs {
  private static let folder = TestSecrets.folder("ALOFT_TEST_LOGS")

  /// Whether they are looked at afterwards: then everything is to be logged.
  public static var areKept: Bool { folder != nil }

  /// Keeps a log that its test will remove. The file is there from now on.
  public static func keep(_ path: String) {
    guard let folder else { return }
    close(open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600))
    let name = path.split(separator: "/").joined(separator: "-")
    if link(path, "\(folder)/\(name)") != 0, errno != EEXIST {
      TestSecrets.append("\(path) was not kept: \(String(cString: strerror(errno)))\n", to: "\(folder)/lost")
    }
  }

  /// What tests hand to what they test: it writes to a file of this process where logs are kept, and nothing otherwise.
  public static func logger(_ label: String = "test") -> Logger {
    guard let folder else { return Logger(label: label) { _ in SwiftLogNoOpLogHandler() } }
    return Logger(label: label) { _ in FileLogHandler(path: "\(folder)/\(label)-\(getpid()).log") }
  }
}

private struct FileLogHandler: LogHandler {
  let path: String
  var metadata: Logger.Metadata = [:]
  var logLevel = Logger.Level.trace

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let all = metadata.merging(event.metadata ?? [:]) { $1 }
    TestSecrets.append("\(event.level) \(event.message) \(all)\n", to: path)
  }
}
