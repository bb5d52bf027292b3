import AloftModel
import ArgumentParser
import JSON

extension WebhookCommand {
  /// `aloft webhook ping`
  struct Ping: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Send a test event to a webhook.", discussion: "`aloft webhook deliveries` shows how it went.")

    @Argument(help: WebhookNoun.nameHelp)
    var name: String

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var key: KeyOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let call = APICall(
        .post, APIPath.path("webhooks", name, "ping"), query: session.query(project, dryRun: dryRun),
        key: session.key(key))
      try await session.printer.changed([try await session.api.send(call).json], as: .webhookDelivery)
    }
  }

  /// `aloft webhook deliveries`
  struct Deliveries: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "List what was or is to be sent to a webhook, newest first.")

    @Argument(help: WebhookNoun.nameHelp)
    var name: String

    @Option(help: "Keep those in this state: pending, delivered, failed.")
    var state: WebhookDeliveryState?

    @OptionGroup var list: ListOptions
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let filter = state.map { [("state", $0.rawValue)] } ?? []
      let items = try await session.api.items(
        APIPath.path("webhooks", name, "deliveries"), query: session.query(project) + filter, limit: list.limit)
      try await session.printer.list(items, as: .webhookDelivery)
    }
  }

  /// `aloft webhook delivery`
  struct Delivery: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show a delivery: what was sent, and what came back.")

    @Argument(help: WebhookNoun.nameHelp)
    var name: String

    @Argument(help: "The delivery's id.")
    var id: String

    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let call = APICall(.get, APIPath.path("webhooks", name, "deliveries", id), query: session.query(project))
      try await session.printer.details(try await session.api.send(call).json, as: .webhookDelivery)
    }
  }

  /// `aloft webhook redeliver`
  struct Redeliver: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Send deliveries again.")

    @Argument(help: WebhookNoun.nameHelp)
    var name: String

    @Argument(help: "The deliveries' ids.")
    var ids: [String]

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var key: KeyOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      var batch = Batch()
      var items: [JSONValue] = []
      for id in ids {
        let call = APICall(
          .post, APIPath.path("webhooks", name, "deliveries", id, "redeliver"),
          query: session.query(project, dryRun: dryRun), key: session.key(key, for: ids.count > 1 ? id : nil))
        let answer = try await batch.attempt(id, several: ids.count > 1, session.surroundings) {
          () async throws(CommandFailure) in try await session.api.send(call)
        }
        if let answer { items.append(answer.json) }
      }
      try await session.printer.changed(items, as: .webhookDelivery)
      if let failure = batch.firstFailure { throw .alreadyTold(failure.status) }
    }
  }
}

extension WebhookDeliveryState: ExpressibleByArgument {}
