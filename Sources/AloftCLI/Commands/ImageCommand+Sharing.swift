import ArgumentParser
import HTTPTypes
import JSON

extension ImageCommand {
  /// `aloft image share`
  struct Share: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Let another project use an image.",
      discussion: "It can make volumes and virtual machines from it, and download it.")

    @Argument(help: ImageNoun.nameHelp)
    var name: String

    @Argument(help: "The other project, by id, or by name if you see it.")
    var target: String

    @OptionGroup var change: ChangeOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      try await change.perform(.put, ["images", name, "shares", target], session)
    }
  }

  /// `aloft image unshare`
  struct Unshare: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Stop letting another project use an image.", discussion: "What it has made from it stays.")

    @Argument(help: ImageNoun.nameHelp)
    var name: String

    @Argument(help: "The other project, by id, or by name if you see it.")
    var target: String

    @OptionGroup var change: ChangeOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      try await change.perform(.delete, ["images", name, "shares", target], session)
    }
  }

  /// `aloft image publish`
  struct Publish: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Let every project use an image, or with --undo only those that it is shared with.",
      discussion: "For operators of the cloud.")

    @Argument(help: ImageNoun.nameHelp)
    var name: String

    @Flag(help: "Take it back. What was made from it stays.")
    var undo = false

    @OptionGroup var change: ChangeOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      try await change.perform(.post, ["images", name, undo ? "unpublish" : "publish"], session)
    }
  }

  /// `aloft image deprecate`
  struct Deprecate: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Say that an image is not recommended any more, or with --undo that it is.",
      discussion: "It can still be used, but lists do not show it unless asked.")

    @Argument(help: ImageNoun.nameHelp)
    var name: String

    @Option(name: .shortAndLong, help: "Why, and what to use instead.")
    var message: String?

    @Flag(help: "Recommend it again.")
    var undo = false

    @OptionGroup var change: ChangeOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
      if undo == (message != nil) { throw ValidationError("say why with --message, or take it back with --undo") }
    }

    func perform(_ session: Session) async throws(CommandFailure) {
      let value: JSONValue = message.map { ["message": .string($0)] } ?? .null
      try await change.perform(.patch, ["images", name], body: ["deprecated": value], session)
    }
  }

  /// What changes of an image take that happen at once.
  struct ChangeOptions: ParsableArguments {
    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var key: KeyOption
    @OptionGroup var project: ProjectOption

    func perform(
      _ method: HTTPRequest.Method, _ path: [String], body: JSONValue? = nil, _ session: Session
    ) async throws(CommandFailure) {
      let call = APICall(
        method, APIPath.path(path), query: session.query(project, dryRun: dryRun), body: body,
        key: method == .post ? session.key(key) : nil)
      try await session.printer.changed([try await session.api.send(call).json], as: .image)
    }
  }
}
