import ArgumentParser
import Foundation
import Logging
import Postgres
import Yams

/// Where a setting comes from: the command line, then the environment, then the file.
struct SettingsSource {
  private let file: [String: String]
  private let environment: [String: String]

  /// Reads the file, if one is named. Throws what is wrong with it.
  init(config: String?, environment: [String: String] = ProcessInfo.processInfo.environment) throws {
    self.environment = environment
    guard let path = config ?? environment["ALOFT_CONFIG"] else {
      file = [:]
      return
    }
    let text = try String(contentsOfFile: path, encoding: .utf8)
    guard let values = try Yams.load(yaml: text) as? [String: Any]? else {
      throw ValidationError("\(path) is not a mapping of settings")
    }
    file = (values ?? [:]).mapValues { "\($0)" }
    let unknown = Set(file.keys).subtracting(Self.known)
    guard unknown.isEmpty else {
      throw ValidationError(
        "\(path) has settings that aloftd does not know: \(unknown.sorted().joined(separator: ", "))")
    }
  }

  private static let known: Set = [
    "database-url", "listen", "advertise-url", "tls-cert", "tls-key", "ca-cert", "ca-key", "image-store", "share",
    "log-level", "lease-seconds", "database-connections", "validate-responses",
  ]

  /// The value of a setting, given or not on the command line.
  func value(_ given: String?, _ name: String) -> String? {
    given ?? environment["ALOFT_" + name.uppercased().replacingOccurrences(of: "-", with: "_")] ?? file[name]
  }

  func required(_ given: String?, _ name: String) throws -> String {
    guard let value = value(given, name) else {
      throw ValidationError(
        "--\(name) is missing; give it, or set ALOFT_\(name.uppercased().replacingOccurrences(of: "-", with: "_"))")
    }
    return value
  }

  func integer(_ given: Int?, _ name: String, default standard: Int) throws -> Int {
    if let given { return given }
    guard let text = value(nil, name) else { return standard }
    guard let value = Int(text) else { throw ValidationError("\(name) is \(text), which is no whole number") }
    return value
  }
}

/// What every command takes.
struct CommonOptions: ParsableArguments {
  @Option(help: "A YAML file with settings.")
  var config: String?

  @Option(help: "PostgreSQL, such as postgresql://aloft@db/aloft or host=/run/postgresql dbname=aloft.")
  var databaseURL: String?

  @Option(help: "How many connections to PostgreSQL to keep (8).")
  var databaseConnections: Int?

  @Option(help: "The directory with openapi/ and migrations/ (found beside the program, or /usr/share/aloft).")
  var share: String?

  @Option(help: "trace, debug, info, notice, warning, error or critical (info).")
  var logLevel: String?

  func source() throws -> SettingsSource { try SettingsSource(config: config) }

  func logger(_ source: SettingsSource) throws -> Logger {
    let text = source.value(logLevel, "log-level") ?? "info"
    guard let level = Logger.Level(rawValue: text) else {
      throw ValidationError(
        "log-level is \(text); it is one of \(Logger.Level.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    var logger = Logger(label: "aloftd") { label in StreamLogHandler.standardError(label: label) }
    logger.logLevel = level
    return logger
  }

  func database(_ source: SettingsSource, logger: Logger) throws -> Database {
    let configuration = DatabaseConfiguration(
      url: try source.required(databaseURL, "database-url"),
      poolSize: try source.integer(databaseConnections, "database-connections", default: 8), applicationName: "aloftd")
    return try Database(configuration: configuration, logger: logger)
  }

  /// The directory with the contract and the migrations.
  func shareDirectory(_ source: SettingsSource) throws -> String {
    if let given = source.value(share, "share") { return given }
    var directory = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    while directory.path != "/" {
      if FileManager.default.fileExists(atPath: directory.appendingPathComponent("openapi/aloft.yaml").path) {
        return directory.path
      }
      directory.deleteLastPathComponent()
    }
    guard FileManager.default.fileExists(atPath: "/usr/share/aloft/openapi/aloft.yaml") else {
      throw ValidationError("openapi/aloft.yaml was not found; say with --share where it and migrations/ are")
    }
    return "/usr/share/aloft"
  }
}
