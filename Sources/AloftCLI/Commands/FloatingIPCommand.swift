import ArgumentParser
import JSON

enum FloatingIPNoun: ProjectNoun {
  static let collection = "floating-ips"
  static let word = "floating IP"
  static let oneWord = "a floating IP"
  static var presentation: Presentation { .floatingIP }
}

/// `aloft floating-ip`
struct FloatingIPCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "floating-ip", abstract: "Addresses outside of the cloud that lead to NICs.",
    subcommands: [
      List.self, ShowCommand<FloatingIPNoun>.self, Create.self, Assign.self, Unassign.self, Delete.self,
      LabelCommand<FloatingIPNoun>.self,
    ])

  static let nameHelp: ArgumentHelp = "The floating IP, by id or by its address."

  /// The id of what somebody calls by its address.
  private static func id(_ name: String, _ project: ProjectOption, _ session: Session) async throws(CommandFailure)
    -> String
  {
    guard name.contains(".") else { return name }
    let found = try await session.api.items(
      APIPath.path("floating-ips"), query: session.query(project) + [("address", name)], limit: nil)
    return found.first?["id"]?.stringValue ?? name
  }

  /// `aloft floating-ip list`
  struct List: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "List floating IPs.")

    @Option(help: "Keep that of this NIC.")
    var nic: String?

    @Option(help: "Keep those of this external network.")
    var externalNetwork: String?

    @OptionGroup var labels: LabelFilterOption
    @OptionGroup var list: ListOptions
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      var query = session.query(project) + labels.query
      if let nic { query.append(("nic", nic)) }
      if let externalNetwork { query.append(("external_network", externalNetwork)) }
      let items = try await session.api.items(APIPath.path("floating-ips"), query: query, limit: list.limit)
      try await session.printer.list(items, as: .floatingIP)
    }
  }

  /// `aloft floating-ip create`
  struct Create: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Get an address of an external network.")

    @Argument(help: "The external network, by id or name.")
    var externalNetwork: String

    @Option(help: "The address, if it is to be a certain one.")
    var address: String?

    @Option(help: "The NIC that it is to lead to, by id.")
    var nic: String?

    @OptionGroup var options: CreationOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      var body: JSONObject = ["external_network": .string(externalNetwork)]
      body.say("address", address)
      body.say("nic", nic)
      try await session.create(FloatingIPNoun.self, body, options)
    }
  }

  /// `aloft floating-ip assign`
  struct Assign: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Lead a floating IP to a NIC.", discussion: "Another NIC that has it loses it at the same moment.")

    @Argument(help: FloatingIPCommand.nameHelp)
    var name: String

    @Argument(help: "The NIC, by id.")
    var nic: String

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let id = try await FloatingIPCommand.id(name, project, session)
      try await session.update(FloatingIPNoun.self, id, ["nic": .string(nic)], project, dryRun)
    }
  }

  /// `aloft floating-ip unassign`
  struct Unassign: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Lead a floating IP nowhere.")

    @Argument(help: FloatingIPCommand.nameHelp)
    var name: String

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let id = try await FloatingIPCommand.id(name, project, session)
      try await session.update(FloatingIPNoun.self, id, ["nic": .null], project, dryRun)
    }
  }

  /// `aloft floating-ip delete`
  struct Delete: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Give floating IPs back.")

    @Argument(help: "The floating IPs, by id or by their addresses.")
    var names: [String]

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      var ids: [String] = []
      for name in names { ids.append(try await FloatingIPCommand.id(name, project, session)) }
      try await session.delete(
        "floating IP", ids, query: session.query(project, dryRun: dryRun), dryRun: dryRun.dryRun
      ) { FloatingIPNoun.path($0) }
    }
  }
}
