import ArgumentParser
import HTTPTypes
import JSON

/// `aloft api`
struct RawCall: ServerCommand {
  static let configuration = CommandConfiguration(
    commandName: "api", abstract: "Call the API as it is.",
    discussion: """
      Example: aloft api PATCH /v1/vms/web1 --body '{"labels":{"tier":"web"}}'
      The answer is printed whatever its status is; the exit code tells whether it was a success.
      """)

  @Argument(help: "GET, POST, PUT, PATCH or DELETE.")
  var method: String

  @Argument(help: "The path with its query, such as /v1/vms?limit=5.")
  var path: String

  @Option(help: ArgumentHelp("The body: JSON, @file, or - for standard input.", valueName: "body"), completion: .file())
  var body: String?

  @Option(help: ArgumentHelp("The body's media type.", valueName: "type"))
  var contentType = "application/json"

  @Flag(name: .shortAndLong, help: "Print status and header fields first.")
  var include = false

  @OptionGroup var key: KeyOption
  @OptionGroup var common: CommonOptions

  func validate() throws {
    guard ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"].contains(method.uppercased()) else {
      throw ValidationError("the method is one of GET, HEAD, POST, PUT, PATCH and DELETE")
    }
    guard path.hasPrefix("/"), path.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
      throw ValidationError("the path begins with / and is percent-encoded")
    }
  }

  func perform(_ session: Session) async throws(CommandFailure) {
    let method = HTTPRequest.Method(method.uppercased()) ?? .get
    let call = APICall(method, path, key: method == .post ? session.key(key) : key.idempotencyKey)
    let content = try await content()
    let response = try await session.api.raw(call, content: content, contentType: contentType)
    var text = ""
    if include {
      text = "HTTP \(response.status)\n" + response.headers.map { "\($0.name): \($0.value)\n" }.joined() + "\n"
    }
    try await session.printer.write(text)
    if let json = try? JSONValue.parse(response.body) {
      let isYAML = session.printer.format == .yaml
      try await session.printer.write(isYAML ? try YAMLText.text(json) : PrettyJSON.text(json))
    } else {
      try await session.surroundings.output.write(response.body)
    }
    guard let status = CommandStatus(httpStatus: response.status) else { return }
    await session.surroundings.say("aloft: the server answered \(response.status)")
    throw .alreadyTold(status)
  }

  private func content() async throws(CommandFailure) -> [UInt8]? {
    guard let body else { return nil }
    if body == "-" { return try await LocalFile(path: "-").read(limit: 64 << 20, purpose: "the body") }
    guard body.hasPrefix("@") else { return Array(body.utf8) }
    return try await LocalFile(path: String(body.dropFirst())).read(limit: 64 << 20, purpose: "the body")
  }
}
