import AloftModel
import ArgumentParser
import JSON

extension VolumeCommand {
  /// `aloft volume move`
  struct Move: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Move a volume to another storage pool.",
      discussion: "A guest that runs keeps it all the time. It must have no snapshots.")

    @Argument(help: VolumeNoun.nameHelp)
    var name: String

    @Option(help: "The storage pool that it goes to.")
    var pool: String

    @OptionGroup var key: KeyOption
    @OptionGroup var options: ChangeOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      try await options.post("move", name, ["pool": .string(pool)], key, session)
    }
  }
}
