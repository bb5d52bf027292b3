import ArgumentParser
import JSON

extension VolumeCommand {
  /// `aloft volume limit`
  struct Limit: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Change how much a guest may read from and write to a volume.",
      discussion: """
        What is not named stays; `none` removes a limit. A guest that runs is held to it at once.
        Measures: \(IOLimitArgument.names).
        Examples: total_iops=500, read_bytes=100M:400M:30 (400 MiB a second for up to 30 seconds), write_iops=none
        """)

    @Argument(help: VolumeNoun.nameHelp)
    var name: String

    @Argument(help: ArgumentHelp("The limits.", valueName: "measure=rate[:burst[:seconds]]"))
    var limits: [IOLimitArgument] = []

    @Flag(help: "Remove all limits.")
    var none = false

    @OptionGroup var options: ChangeOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
      if none != limits.isEmpty { throw ValidationError("say either limits or --none") }
    }

    func perform(_ session: Session) async throws(CommandFailure) {
      let body: JSONObject = ["io_limits": none ? .null : IOLimitArgument.object(limits)]
      let query = session.query(options.project, dryRun: options.dryRun)
      try await options.changes(session).run([name]) {
        APICall(.patch, VolumeNoun.path($0), query: query, body: .object(body))
      }
    }
  }
}
