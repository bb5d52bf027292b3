import AloftModel
import ArgumentParser
import JSON

enum WebhookNoun: ProjectNoun {
  static let collection = "webhooks"
  static let word = "webhook"
  static let oneWord = "a webhook"
  static var presentation: Presentation { .webhook }
}

/// `aloft webhook`
struct WebhookCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "webhook", abstract: "Webhooks, which send a project's events to a URL.",
    subcommands: [
      List.self, ShowCommand<WebhookNoun>.self, Create.self, Update.self, Delete.self, LabelCommand<WebhookNoun>.self,
      RotateSecret.self, Ping.self, Deliveries.self, Delivery.self, Redeliver.self,
    ])

  /// `aloft webhook list`
  struct List: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "List webhooks.")

    @OptionGroup var labels: LabelFilterOption
    @OptionGroup var list: ListOptions
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let items = try await session.api.items(
        APIPath.path("webhooks"), query: session.query(project) + labels.query, limit: list.limit)
      try await session.printer.list(items, as: .webhook)
    }
  }

  /// `aloft webhook create`
  struct Create: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Create a webhook.",
      discussion: "Its secret, with which the receiver checks signatures, is shown this once.")

    @Argument(help: "Its name.")
    var name: String

    @Option(help: "Where events are sent, https://….")
    var to: String

    @Option(help: EventOption.help)
    var event: [String] = []

    @Option(name: .shortAndLong, help: ArgumentHelp("A label. Can be repeated.", valueName: "key=value"))
    var label: [LabelPair] = []

    @Flag(help: "Send nothing until it is enabled.")
    var disabled = false

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var key: KeyOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      var body: JSONObject = ["name": .string(name), "url": .string(to)]
      body["events"] = EventOption.value(event)
      if !label.isEmpty { body["labels"] = LabelPair.object(label) }
      if disabled { body["enabled"] = false }
      let call = APICall(
        .post, APIPath.path("webhooks"), query: session.query(project, dryRun: dryRun), body: .object(body),
        key: session.key(key))
      // All of it, also as a table: the secret is the point.
      try await session.printer.details(try await session.api.send(call).json, as: .webhook)
    }
  }

  /// `aloft webhook update`
  struct Update: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Change a webhook. What is not said stays.")

    @Argument(help: WebhookNoun.nameHelp)
    var name: String

    @Option(help: "Its new name.")
    var rename: String?

    @Option(help: "Where events are sent, https://….")
    var to: String?

    @Option(help: EventOption.help)
    var event: [String] = []

    @Flag(help: "Send what happens from now on.")
    var enable = false

    @Flag(help: "Send nothing.")
    var disable = false

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func validate() throws {
      if enable, disable { throw ValidationError("--enable and --disable exclude each other") }
      if rename == nil, to == nil, event.isEmpty, !enable, !disable {
        throw ValidationError("say what to change: --rename, --to, --event, --enable or --disable")
      }
    }

    func perform(_ session: Session) async throws(CommandFailure) {
      var body = JSONObject()
      body["name"] = rename.map { .string($0) }
      body["url"] = to.map { .string($0) }
      body["events"] = EventOption.value(event)
      if enable || disable { body["enabled"] = .bool(enable) }
      let call = APICall(
        .patch, WebhookNoun.path(name), query: session.query(project, dryRun: dryRun), body: .object(body))
      try await session.printer.changed([try await session.api.send(call).json], as: .webhook)
    }
  }

  /// `aloft webhook delete`
  struct Delete: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Delete webhooks.")

    @Argument(help: "The webhooks, by id or name.")
    var names: [String]

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      try await session.delete("webhook", names, query: session.query(project, dryRun: dryRun), dryRun: dryRun.dryRun) {
        WebhookNoun.path($0)
      }
    }
  }

  /// `aloft webhook rotate-secret`
  struct RotateSecret: ServerCommand {
    static let configuration = CommandConfiguration(
      commandName: "rotate-secret", abstract: "Give a webhook another secret, which is shown this once.",
      discussion: "For a while everything is signed with both, so that the receiver can be changed in between.")

    @Argument(help: WebhookNoun.nameHelp)
    var name: String

    @Option(
      help: ArgumentHelp("For how long the old one signs too: 0s when others know it, 7d at most.", valueName: "time"))
    var overlap = TimeSpan(seconds: 86_400)

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var key: KeyOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let call = APICall(
        .post, APIPath.path("webhooks", name, "rotate-secret"), query: session.query(project, dryRun: dryRun),
        body: ["overlap_seconds": .integer(Int64(overlap.seconds))], key: session.key(key))
      try await session.printer.details(try await session.api.send(call).json, as: .webhook)
    }
  }
}

/// The filter of events on the command line.
enum EventOption {
  static let help = ArgumentHelp(
    "A kind of event that is sent, such as vm.deleted, or vm.* for all of virtual machines; by default all. Can be repeated.",
    valueName: "kind")

  static func value(_ kinds: [String]) -> JSONValue? {
    kinds.isEmpty ? nil : .array(kinds.map { .string($0) })
  }
}
