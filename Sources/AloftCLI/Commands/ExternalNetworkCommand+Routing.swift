import ArgumentParser
import JSON

extension ExternalNetworkCommand {
  /// `aloft external-network routed-blocks`
  struct RoutedBlocks: ServerCommand {
    static let configuration = CommandConfiguration(
      commandName: "routed-blocks", abstract: "List the addresses that projects use there as they are.")

    @Argument(help: ExternalNetworkCommand.nameHelp)
    var name: String

    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let answer = try await session.api.send(
        APICall(.get, APIPath.path("external-networks", name, "routed-blocks")))
      try await session.printer.list(answer.json["blocks"]?.arrayValue ?? [], as: .routedBlock)
    }
  }

  /// `aloft external-network set-routed-blocks`
  struct SetRoutedBlocks: ServerCommand {
    static let configuration = CommandConfiguration(
      commandName: "set-routed-blocks", abstract: "Say all addresses that projects use there as they are.",
      discussion:
        "Subnets in a block leave the cloud untranslated, by the project's routers. What was in the list before is so no more."
    )

    @Argument(help: ExternalNetworkCommand.nameHelp)
    var name: String

    @Option(
      help: ArgumentHelp("A block and the project that it is routed to. Can be repeated.", valueName: "cidr=project"))
    var block: [LabelPair] = []

    @Flag(help: "Route nothing to anybody.")
    var none = false

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var common: CommonOptions

    func validate() throws {
      if none == !block.isEmpty { throw ValidationError("say either --block or --none") }
    }

    func perform(_ session: Session) async throws(CommandFailure) {
      let blocks = block.map { pair -> JSONValue in ["cidr": .string(pair.key), "project": .string(pair.value)] }
      let call = APICall(
        .put, APIPath.path("external-networks", name, "routed-blocks"), query: Session.query(dryRun),
        body: ["blocks": .array(blocks)])
      try await session.printer.list(
        try await session.api.send(call).json["blocks"]?.arrayValue ?? [], as: .routedBlock)
    }
  }
}
