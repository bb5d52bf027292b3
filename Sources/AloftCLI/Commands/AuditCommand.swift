import ArgumentParser
import HTTPClient

/// `aloft audit`
struct AuditCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "audit", abstract: "Who changed what.", subcommands: [List.self, Export.self])

  /// `aloft audit list`
  struct List: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "List who changed what, newest first.",
      discussion: "Of the whole cloud, which needs a role in it; with --project of one project, which its admins may.")

    @OptionGroup var filters: AuditFilterOptions
    @OptionGroup var list: ListOptions
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let path = session.query(project).first.map { APIPath.path("projects", $0.1, "audit") } ?? APIPath.path("audit")
      let items = try await session.api.items(path, query: filters.query, limit: list.limit)
      try await session.printer.list(items, as: .audit)
    }
  }

  /// `aloft audit export`
  struct Export: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print all records of the cloud, oldest first, as JSON, one in each line.")

    @OptionGroup var filters: AuditFilterOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let path = APIPath.path("audit", "export")
      let request = session.api.request(APICall(.get, path, query: filters.query))
      do {
        let response = try await session.api.client.stream(request)
        guard response.status == 200 else {
          throw CommandFailure(
            status: response.status, body: try await response.body.firstBytes(),
            requestID: response.headers[.requestID], path: path)
        }
        for try await bytes in response.body { try await session.surroundings.output.write(bytes) }
      } catch let error as HTTPClientError {
        throw CommandFailure(error, changes: false)
      } catch let failure as CommandFailure {
        throw failure
      } catch {
        throw .interrupted
      }
    }
  }
}

/// Which records to keep.
struct AuditFilterOptions: ParsableArguments {
  @Option(help: "What this user did, by id or name.")
  var user: String?
  @Option(help: ArgumentHelp("Calls of this operation of the API, such as createVM.", valueName: "name"))
  var operation: String?
  @Option(help: ArgumentHelp("What changed the resource with this id.", valueName: "id"))
  var resource: String?
  @Flag(help: "Only what was refused.")
  var refused = false
  @Option(help: ArgumentHelp("At this time or later (RFC 3339): 2026-01-31T12:00:00Z.", valueName: "time"))
  var since: String?
  @Option(help: ArgumentHelp("Before this time.", valueName: "time"))
  var until: String?

  var query: [(String, String)] {
    [
      ("user", user), ("operation", operation), ("resource", resource), ("outcome", refused ? "refused" : nil),
      ("since", since), ("until", until),
    ].compactMap { name, value in value.map { (name, $0) } }
  }
}

extension HTTPClientResponseBody {
  /// As much as an error can be.
  func firstBytes() async throws(HTTPClientError) -> [UInt8] {
    var bytes: [UInt8] = []
    for try await chunk in self where bytes.count < 1 << 16 { bytes += chunk }
    return bytes
  }
}
