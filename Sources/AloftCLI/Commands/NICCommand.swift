import ArgumentParser
import JSON

enum NICNoun: ProjectNoun {
  static let collection = "nics"
  static let word = "NIC"
  static let oneWord = "a NIC"
  static var presentation: Presentation { .nic }
}

/// `aloft nic`
struct NICCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "nic", abstract: "NICs, which connect virtual machines to networks.",
    subcommands: [
      List.self, ShowCommand<NICNoun>.self, Create.self, Update.self, LabelCommand<NICNoun>.self, Delete.self,
    ])

  /// `aloft nic list`
  struct List: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "List NICs.")

    @Option(help: "Keep those of this virtual machine.")
    var vm: String?

    @Option(help: "Keep those on this network.")
    var network: String?

    @OptionGroup var labels: LabelFilterOption
    @OptionGroup var list: ListOptions
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let filter = [("vm", vm), ("network", network)].compactMap { name, value in value.map { (name, $0) } }
      let items = try await session.api.items(
        APIPath.path("nics"), query: session.query(project) + labels.query + filter, limit: list.limit)
      try await session.printer.list(items, as: .nic)
    }
  }

  /// What is let through.
  struct TrafficOptions: ParsableArguments {
    @Option(
      help: ArgumentHelp(
        "A security group, by id or name. Can be repeated. By default the project's own.", valueName: "group"))
    var securityGroup: [String] = []

    @Flag(name: .customLong("no-security-group"), help: "Let everything through.")
    var hasNoSecurityGroup = false

    @Flag(inversion: .prefixedNo, help: "Whether packets with other addresses than its own are dropped.")
    var antiSpoofing: Bool?

    @Option(
      help: ArgumentHelp(
        "Other addresses that it may use, and the MAC address that comes with them [its own]. Can be repeated.",
        valueName: "cidr[=mac]"))
    var allow: [AllowedPairArgument] = []

    @Flag(name: .customLong("no-allow"), help: "Let it use its own addresses alone.")
    var allowsNothing = false

    @Option(help: ArgumentHelp("What it receives at most, in kbit/s; 0 for no limit.", valueName: "kbps"))
    var ingressKbps: Int?

    @Option(help: ArgumentHelp("What it sends at most, in kbit/s; 0 for no limit.", valueName: "kbps"))
    var egressKbps: Int?

    func validate() throws {
      if hasNoSecurityGroup, !securityGroup.isEmpty {
        throw ValidationError("--security-group and --no-security-group exclude each other")
      }
      if allowsNothing, !allow.isEmpty { throw ValidationError("--allow and --no-allow exclude each other") }
    }

    func say(in body: inout JSONObject) {
      body.say("security_groups", securityGroup)
      if hasNoSecurityGroup { body["security_groups"] = .array([]) }
      body["anti_spoofing"] = antiSpoofing.map { .bool($0) }
      if allowsNothing || !allow.isEmpty { body["allowed_pairs"] = .array(allow.map(\.body)) }
      body["ingress_kbps"] = ingressKbps.map { $0 == 0 ? .null : .integer(Int64($0)) }
      body["egress_kbps"] = egressKbps.map { $0 == 0 ? .null : .integer(Int64($0)) }
    }
  }

  /// `aloft nic create`
  struct Create: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Plug a NIC into a virtual machine.")

    @Argument(help: "The virtual machine, by id or name.")
    var vm: String

    @Option(help: "The network, by id or name.")
    var network: String

    @Option(
      help: ArgumentHelp(
        "A subnet that its addresses come from. Can be repeated. By default one of IPv4 and one of IPv6.",
        valueName: "subnet"))
    var subnet: [String] = []

    @Option(help: "An address that it is to have. Can be repeated.")
    var address: [String] = []

    @Option(help: "Its MAC address.")
    var mac: String?

    @OptionGroup var traffic: TrafficOptions
    @OptionGroup var wait: WaitOptions
    @OptionGroup var options: CreationOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      var body = JSONObject()
      body.say("vm", vm)
      body.say("network", network)
      body.say("subnets", subnet)
      body.say("addresses", address)
      body.say("mac", mac)
      traffic.say(in: &body)
      if !options.label.isEmpty { body["labels"] = LabelPair.object(options.label) }
      let call = APICall(
        .post, APIPath.path("nics"), query: session.query(options.project, dryRun: options.dryRun), body: .object(body),
        key: session.key(options.key))
      let changes = WaitedChanges(
        session: session, wait: wait, isDryRun: options.dryRun.dryRun, query: session.query(options.project),
        collection: "nics", word: NICNoun.word, presentation: .nic)
      try await changes.run([vm]) { _ in call }
    }
  }

  /// `aloft nic update`
  struct Update: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Change what a NIC lets through. What is not said stays; it takes effect at once.")

    @Argument(help: "The NIC, by its id.")
    var nic: String

    @OptionGroup var traffic: TrafficOptions
    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func validate() throws {
      var body = JSONObject()
      traffic.say(in: &body)
      if body.isEmpty { throw ValidationError("say what to change; aloft nic update --help lists it") }
    }

    func perform(_ session: Session) async throws(CommandFailure) {
      var body = JSONObject()
      traffic.say(in: &body)
      try await session.update(NICNoun.self, nic, body, project, dryRun)
    }
  }

  /// `aloft nic delete`
  struct Delete: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Unplug NICs.")

    @Argument(help: "The NICs, by id.")
    var nics: [String]

    @OptionGroup var wait: WaitOptions
    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let query = session.query(project, dryRun: dryRun)
      let changes = WaitedChanges(
        session: session, wait: wait, isDryRun: dryRun.dryRun, query: session.query(project), deletes: true,
        collection: "nics", word: NICNoun.word, presentation: .nic)
      try await changes.run(nics) { APICall(.delete, NICNoun.path($0), query: query) }
    }
  }
}

extension Presentation {
  static let nic = Presentation(
    columns: [
      .member("ID", "id"), .member("STATE", "state"),
      Column("ADDRESSES") { item, _ in
        let addresses = (item["addresses"]?.arrayValue ?? []).map { plain($0["address"]) }
        return Table.Cell(addresses.isEmpty ? "-" : addresses.joined(separator: ", "))
      },
      .member("MAC", "mac"), .member("VM", "vm_id"), .member("NETWORK", "network_id"), .member("REASON", "reason"),
    ], nameMember: "id")
}
