import ArgumentParser
import HTTPClient
import HTTPTypes
import JSON

/// `aloft event`
struct EventCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "event", abstract: "What happens, in order.", subcommands: [Watch.self])

  /// `aloft event watch`
  struct Watch: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print events as they happen.",
      discussion: """
        One line per event; with -o json one JSON object per line. A connection that is lost is made again where it \
        stopped: no event is skipped or printed twice.
        """)

    @Option(help: ArgumentHelp("Go on behind this event.", valueName: "cursor"))
    var since: String?

    @Flag(help: "Begin with the oldest event that is kept.")
    var fromStart = false

    @Flag(inversion: .prefixedNo, help: "Wait for more when all has been printed.")
    var follow = true

    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func validate() throws {
      if since != nil, fromStart { throw ValidationError("--since and --from-start exclude each other") }
      if let since, !since.allSatisfy({ $0.isASCII && ($0.isNumber || $0 == "-") }) {
        throw ValidationError("--since takes an event's cursor, such as 4711-23")
      }
    }

    func perform(_ session: Session) async throws(CommandFailure) {
      var cursor = since ?? (fromStart ? "0" : nil)
      var isFirst = true
      var misses = 0
      while true {
        let before = cursor
        let failure = try await read(&cursor, isFirst: isFirst, session)
        if failure == nil, !follow { return }
        if let failure, isFirst, cursor == before { throw failure }
        if let failure, failure.status != .serverFault { throw failure }
        isFirst = false
        misses = cursor == before ? misses + 1 : 1
        let reason = failure?.detail ?? "the server ended the stream"
        await session.surroundings.say("aloft: \(reason); connecting again")
        await session.surroundings.sleep(API.pause(after: min(misses, 6)))
        if Task.isCancelled { throw .interrupted }
      }
    }

    /// Prints the events of one connection and moves `cursor` along. Returns why it ended early.
    private func read(
      _ cursor: inout String?, isFirst: Bool, _ session: Session
    ) async throws(CommandFailure) -> CommandFailure? {
      let path = APIPath.path("events")
      var request = session.api.request(
        APICall(.get, path, query: session.query(project) + (follow ? [] : [("follow", "false")])))
      request.headers[.accept] = "text/event-stream"
      request.headers[.lastEventID] = cursor
      do throws(HTTPClientError) {
        let events = try await session.api.client.events(request)
        for try await event in events {
          // A position is no event: it only says where to go on.
          if event.event != "position" {
            do throws(CommandFailure) { try await show(event, session) } catch {
              // Only standard output can fail here: nobody reads any more.
              return error
            }
          }
          if let id = event.id { cursor = id }
        }
        return nil
      } catch {
        if case .unexpectedStatus(let status) = error.kind {
          return CommandFailure(status: status, body: error.responseBody, requestID: nil, path: path)
        }
        return CommandFailure(error, changes: false)
      }
    }

    private func show(_ event: ServerSentEvent, _ session: Session) async throws(CommandFailure) {
      guard let value = try? JSONValue.parse(event.data) else {
        return await session.surroundings.say("aloft: an event that is not JSON was left out")
      }
      switch session.printer.format {
      case .table: try await session.printer.write(Self.line(value))
      case .json: try await session.printer.write(value.description + "\n")
      case .yaml: try await session.printer.write(try YAMLText.text(value, explicitStart: true))
      case .name: try await session.printer.write(Presentation.plain(value["resource_id"]) + "\n")
      }
    }

    /// Columns of fixed width: what comes later cannot widen what is printed already.
    static func line(_ event: JSONValue) -> String {
      let columns = [("at", 24), ("kind", 20), ("resource_id", 31)].map { name, width in
        let text = PrintableText.sanitized(Presentation.plain(event[name]))
        return text + String(repeating: " ", count: max(0, width - text.count))
      }
      let data = event["data"].map { PrintableText.sanitized(Presentation.plain($0)) } ?? "-"
      return (columns + [data]).joined(separator: "  ") + "\n"
    }
  }
}
