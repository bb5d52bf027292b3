import ArgumentParser
import JSON

/// `aloft external-network`: these belong to the cloud and to no project.
struct ExternalNetworkCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "external-network", abstract: "Networks outside of the cloud, which routers lead to.",
    subcommands: [
      List.self, Show.self, Create.self, Update.self, Delete.self, Subnets.self, AddSubnet.self, RemoveSubnet.self,
      RoutedBlocks.self, SetRoutedBlocks.self,
    ])

  static let nameHelp: ArgumentHelp = "The external network, by id or name."

  /// `aloft external-network list`
  struct List: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "List external networks.")

    @OptionGroup var labels: LabelFilterOption
    @OptionGroup var list: ListOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let items = try await session.api.items(
        APIPath.path("external-networks"), query: labels.query, limit: list.limit)
      try await session.printer.list(items, as: .externalNetwork)
    }
  }

  /// `aloft external-network show`
  struct Show: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Show an external network.")

    @Argument(help: ExternalNetworkCommand.nameHelp)
    var name: String

    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let answer = try await session.api.send(APICall(.get, APIPath.path("external-networks", name)))
      try await session.printer.details(answer.json, as: .externalNetwork)
    }
  }

  /// `aloft external-network create`
  struct Create: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Create an external network.", discussion: "`aloft external-network add-subnet` gives it addresses.")

    @Argument(help: "Its name.")
    var name: String

    @Option(help: "What nodes call the wire, in their bridge mappings.")
    var physicalNetwork: String

    @Option(help: ArgumentHelp("The VLAN on it [untagged].", valueName: "number"))
    var vlan: Int?

    @Option(help: ArgumentHelp("The largest packet on it [1500].", valueName: "bytes"))
    var mtu: Int?

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var key: KeyOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      var body: JSONObject = ["name": .string(name), "physical_network": .string(physicalNetwork)]
      body.say("vlan", vlan)
      body.say("mtu", mtu)
      let call = APICall(
        .post, APIPath.path("external-networks"), query: Session.query(dryRun), body: .object(body),
        key: session.key(key))
      try await session.printer.changed([try await session.api.send(call).json], as: .externalNetwork)
    }
  }

  /// `aloft external-network update`
  struct Update: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Change an external network. What is not said stays.")

    @Argument(help: ExternalNetworkCommand.nameHelp)
    var name: String

    @Option(help: "Its new name.")
    var rename: String?

    @Option(help: ArgumentHelp("The largest packet on it.", valueName: "bytes"))
    var mtu: Int?

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var common: CommonOptions

    func validate() throws {
      if rename == nil, mtu == nil { throw ValidationError("say what to change: --rename or --mtu") }
    }

    func perform(_ session: Session) async throws(CommandFailure) {
      var body = JSONObject()
      body.say("name", rename)
      body.say("mtu", mtu)
      let call = APICall(
        .patch, APIPath.path("external-networks", name), query: Session.query(dryRun), body: .object(body))
      try await session.printer.changed([try await session.api.send(call).json], as: .externalNetwork)
    }
  }

  /// `aloft external-network delete`
  struct Delete: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Delete external networks.")

    @Argument(help: "The external networks, by id or name.")
    var names: [String]

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      try await session.delete("external network", names, query: Session.query(dryRun), dryRun: dryRun.dryRun) {
        APIPath.path("external-networks", $0)
      }
    }
  }

  /// `aloft external-network subnets`
  struct Subnets: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "List the subnets of an external network.")

    @Argument(help: ExternalNetworkCommand.nameHelp)
    var name: String

    @OptionGroup var list: ListOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let items = try await session.api.items(
        APIPath.path("external-networks", name, "subnets"), limit: list.limit)
      try await session.printer.list(items, as: .externalSubnet)
    }
  }

  /// `aloft external-network add-subnet`
  struct AddSubnet: ServerCommand {
    static let configuration = CommandConfiguration(
      commandName: "add-subnet", abstract: "Give addresses to an external network.")

    @Argument(help: ExternalNetworkCommand.nameHelp)
    var name: String

    @Argument(help: "The subnet's name.")
    var subnet: String

    @Option(help: "Its addresses: 203.0.113.0/24 or 2001:db8::/64.")
    var cidr: String

    @OptionGroup var range: SubnetRange
    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var key: KeyOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      var body: JSONObject = ["name": .string(subnet), "cidr": .string(cidr)]
      range.say(in: &body)
      let call = APICall(
        .post, APIPath.path("external-networks", name, "subnets"), query: Session.query(dryRun),
        body: .object(body), key: session.key(key))
      try await session.printer.changed([try await session.api.send(call).json], as: .externalSubnet)
    }
  }

  /// `aloft external-network remove-subnet`
  struct RemoveSubnet: ServerCommand {
    static let configuration = CommandConfiguration(
      commandName: "remove-subnet", abstract: "Take addresses away from an external network.")

    @Argument(help: ExternalNetworkCommand.nameHelp)
    var name: String

    @Argument(help: "The subnets, by id or name.")
    var subnets: [String]

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      try await session.delete("subnet", subnets, query: Session.query(dryRun), dryRun: dryRun.dryRun) {
        APIPath.path("external-networks", name, "subnets", $0)
      }
    }
  }
}
