import ArgumentParser
import HTTPClient
import HTTPTypes

extension VMCommand {
  /// `aloft vm serial-log`
  struct SerialLog: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print what the guest wrote to its serial port.",
      discussion: "The bytes are the guest's own and are printed as they are.")

    @Argument(help: "The virtual machine, by id or name.")
    var name: String

    @Option(help: ArgumentHelp("The first byte, counted from the beginning of all output.", valueName: "bytes"))
    var offset: Int?

    @Option(help: ArgumentHelp("Only the last bytes: 4096, 64KiB.", valueName: "size"))
    var tail: ByteCount?

    @Flag(name: .shortAndLong, help: "Go on as the guest writes more.")
    var follow = false

    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func validate() throws {
      if offset != nil, tail != nil { throw ValidationError("--offset and --tail exclude each other") }
      if let offset, offset < 0 { throw ValidationError("--offset counts from the beginning; use --tail for the end") }
    }

    func perform(_ session: Session) async throws(CommandFailure) {
      // `-0` would be the whole log.
      var position = offset ?? tail.map { -$0.bytes }
      if position == 0, tail != nil, !follow { return }
      var lost = 0
      while true {
        let (end, failure) = try await copy(from: position, session)
        guard let failure else { return }
        // Without knowing where the answer began, going on could repeat or skip output.
        guard follow, let end, failure.status == .serverFault, lost < API.attempts else { throw failure }
        lost = end == position ? lost + 1 : 1
        position = end
        await session.surroundings.sleep(API.pause(after: lost))
      }
    }

    /// Prints one answer. Returns the offset behind it, and why it ended early.
    private func copy(
      from offset: Int?, _ session: Session
    ) async throws(CommandFailure) -> (end: Int?, failure: CommandFailure?) {
      let path = APIPath.path("vms", name, "serial-log")
      var query = session.query(project)
      if let offset { query.append(("offset", String(offset))) }
      if follow { query.append(("follow", "true")) }
      var request = session.api.request(APICall(.get, path, query: query))
      request.headers[.accept] = "application/octet-stream"
      var end: Int?
      do {
        let response = try await session.api.client.stream(request)
        guard response.status == 200 else {
          throw CommandFailure(
            status: response.status, body: try await response.body.firstBytes(),
            requestID: response.headers[.requestID], path: path)
        }
        end = response.headers[.logStart].flatMap { Int($0) } ?? offset.flatMap { $0 >= 0 ? $0 : nil }
        for try await bytes in response.body {
          try await session.surroundings.output.write(bytes)
          end = end.map { $0 + bytes.count }
        }
        return (end, nil)
      } catch let error as HTTPClientError {
        return (end ?? offset.flatMap { $0 >= 0 ? $0 : nil }, CommandFailure(error, changes: false))
      } catch let failure as CommandFailure {
        throw failure
      } catch {
        throw .interrupted
      }
    }
  }
}
