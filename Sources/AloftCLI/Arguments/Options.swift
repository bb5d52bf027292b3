import AloftModel
import ArgumentParser

/// What every command that talks to the server takes.
struct CommonOptions: ParsableArguments {
  @Option(name: .shortAndLong, help: ArgumentHelp("How to print the answer.", valueName: "format"))
  var output: OutputFormat = .table

  @Option(help: "The server's address [ALOFT_URL, then the context's, otherwise https://127.0.0.1:8443].")
  var url: String?

  @Option(help: ArgumentHelp("Which of the clouds that you have logged in to [ALOFT_CONTEXT].", valueName: "name"))
  var context: String?

  @Option(
    help: ArgumentHelp("A file that holds the API token [ALOFT_TOKEN, then the context's].", valueName: "file"),
    completion: .file())
  var tokenFile: String?

  @Option(
    help: ArgumentHelp("The authority of the server's certificate, in PEM [ALOFT_CA_CERT].", valueName: "file"),
    completion: .file())
  var caCert: String?

  @Flag(name: .shortAndLong, help: "Log the requests to standard error.")
  var verbose = false
}

/// What commands take whose noun belongs to a project.
struct ProjectOption: ParsableArguments {
  @Option(help: "The project, by id or name [ALOFT_PROJECT, otherwise the token's own, or else the one named default].")
  var project: String?
}

/// What commands take that are about a project's members or limits, which lie on the project's own path.
struct ProjectInPath: ParsableArguments {
  @Option(help: "The project, by id or name [ALOFT_PROJECT, otherwise the one named default].")
  var project: String?

  func path(_ session: Session, _ rest: String...) -> String {
    let named = project ?? session.surroundings.environment["ALOFT_PROJECT"] ?? ""
    return APIPath.path(["projects", named.isEmpty ? "default" : named] + rest)
  }
}

/// Whether to wait for an operation's end.
struct WaitOptions: ParsableArguments {
  @Flag(inversion: .prefixedNo, help: "Wait until the operation has ended.")
  var wait = true

  @Option(help: ArgumentHelp("How long to wait: 90s, 10m, 1h.", valueName: "time"))
  var timeout = TimeSpan(seconds: 600)
}

/// What every change takes.
struct DryRunOption: ParsableArguments {
  @Flag(help: "Check everything and change nothing.")
  var dryRun = false
}

/// What every change by POST takes.
struct KeyOption: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Makes a repeated command harmless: the same key is carried out once. By default a random one.",
      valueName: "key"))
  var idempotencyKey: String?

  func validate() throws {
    guard let key = idempotencyKey else { return }
    guard (1...128).contains(key.utf8.count), key.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
      throw ValidationError("--idempotency-key takes 1 to 128 printable ASCII characters without blanks")
    }
  }
}

/// What lists take.
struct ListOptions: ParsableArguments {
  @Option(help: "Stop after this many items.")
  var limit: Int?

  func validate() throws {
    if let limit, limit < 1 { throw ValidationError("--limit must be at least 1") }
  }
}

/// What lists of labelled things take.
struct LabelFilterOption: ParsableArguments {
  @Option(name: .shortAndLong, help: "Keep what has this label: key=value, or key for any value. Can be repeated.")
  var label: [String] = []

  var query: [(String, String)] { label.map { ("label", $0) } }
}

extension AcceleratorChoice: ExpressibleByArgument {}
extension OperationStatus: ExpressibleByArgument {}
