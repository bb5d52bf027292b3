import ArgumentParser
import JSON

extension ImageCommand {
  /// `aloft image fetch`
  struct Fetch: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Let the cloud fetch an image by itself.",
      discussion: "The operation shows how far it is. What broke off is gone on with, for some hours.")

    @Argument(help: "The image's name.")
    var name: String

    @Argument(help: "Where it is: an https URL.")
    var url: String

    @Option(help: ArgumentHelp("The SHA-256 that its content must have.", valueName: "hex"))
    var sha256: String?

    @OptionGroup var details: DetailOptions
    @OptionGroup var wait: WaitOptions
    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var key: KeyOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      var body = details.body(name: name, sha256: sha256).objectValue ?? [:]
      body["source"] = ["url": .string(url)]
      let call = APICall(
        .post, APIPath.path("images"), query: session.query(project, dryRun: dryRun), body: .object(body),
        key: session.key(key))
      try await WaitedChanges(
        session: session, wait: wait, isDryRun: dryRun.dryRun, query: session.query(project), collection: "images",
        word: ImageNoun.word, presentation: .image
      ).run([name]) { _ in call }
    }
  }

  /// `aloft image capture`
  struct Capture: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make an image of a volume or of a snapshot.",
      discussion: "The virtual machine that has the volume may run. The operation shows how far it is.")

    @Argument(help: "The image's name.")
    var name: String

    @Option(help: "The volume; with --snapshot which of its volumes.")
    var volume: String?

    @Option(help: "The snapshot: what is now in the volume does not matter.")
    var snapshot: String?

    @OptionGroup var details: DetailOptions
    @OptionGroup var wait: WaitOptions
    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var key: KeyOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func validate() throws {
      if volume == nil && snapshot == nil { throw ValidationError("say what it is made of: --volume or --snapshot") }
    }

    func perform(_ session: Session) async throws(CommandFailure) {
      var source: JSONObject = [:]
      source.say("volume", volume)
      source.say("snapshot", snapshot)
      var body = details.body(name: name, sha256: nil).objectValue ?? [:]
      body["source"] = .object(source)
      let call = APICall(
        .post, APIPath.path("images"), query: session.query(project, dryRun: dryRun), body: .object(body),
        key: session.key(key))
      try await WaitedChanges(
        session: session, wait: wait, isDryRun: dryRun.dryRun, query: session.query(project), collection: "images",
        word: ImageNoun.word, presentation: .image
      ).run([name]) { _ in call }
    }
  }

  /// `aloft image cancel-fetch`
  struct CancelFetch: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Stop fetching an image, or making it of a volume.")

    @Argument(help: ImageNoun.nameHelp)
    var name: String

    @OptionGroup var change: ChangeOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      try await change.perform(.post, ["images", name, "cancel-fetch"], session)
    }
  }
}
