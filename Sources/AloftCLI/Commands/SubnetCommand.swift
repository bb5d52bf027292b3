import AloftModel
import ArgumentParser
import JSON

enum SubnetNoun: ProjectNoun {
  static let collection = "subnets"
  static let word = "subnet"
  static let oneWord = "a subnet"
  static var presentation: Presentation { .subnet }
}

/// `aloft subnet`
struct SubnetCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "subnet", abstract: "Subnets, which are the addresses of networks.",
    subcommands: [
      List.self, ShowCommand<SubnetNoun>.self, Create.self, Update.self, DeleteCommand<SubnetNoun>.self,
      LabelCommand<SubnetNoun>.self,
    ])

  /// `aloft subnet list`
  struct List: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "List subnets.")

    @Option(help: "Keep the subnets of this network.")
    var network: String?

    @OptionGroup var labels: LabelFilterOption
    @OptionGroup var list: ListOptions
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let filter = network.map { [("network", $0)] } ?? []
      let items = try await session.api.items(
        APIPath.path("subnets"), query: session.query(project) + labels.query + filter, limit: list.limit)
      try await session.printer.list(items, as: .subnet)
    }
  }

  /// What guests are told.
  struct GuestOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Whom guests ask for names. Can be repeated.", valueName: "address"))
    var dnsServer: [String] = []

    @Option(help: ArgumentHelp("A route that guests are told of. Can be repeated.", valueName: "cidr=next-hop"))
    var hostRoute: [LabelPair] = []

    func body(name: String?) -> JSONObject {
      var body = JSONObject()
      body.say("name", name)
      body.say("dns_servers", dnsServer)
      body.say("host_routes", routes: hostRoute)
      return body
    }
  }

  /// `aloft subnet create`
  struct Create: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Create a subnet.")

    @Argument(help: "Its name.")
    var name: String

    @Option(help: "The network that it is on, by id or name.")
    var network: String

    @Option(help: "Its addresses: 10.0.0.0/24 or fd00:1::/64.")
    var cidr: String

    @OptionGroup var range: SubnetRange

    @Option(help: "How guests get their addresses [dhcp; slaac in an IPv6 /64].")
    var configuration: SubnetConfiguration?

    @Option(help: ArgumentHelp("A range that is never given to anybody. Can be repeated.", valueName: "first-last"))
    var reserved: [String] = []

    @OptionGroup var guests: GuestOptions
    @OptionGroup var options: CreationOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      var body = guests.body(name: name)
      body.say("network", network)
      body.say("cidr", cidr)
      range.say(in: &body)
      body.say("configuration", configuration?.rawValue)
      body.say("reserved", reserved)
      try await session.create(SubnetNoun.self, body, options)
    }
  }

  /// `aloft subnet update`
  struct Update: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Change a subnet. What is not said stays.")

    @Argument(help: SubnetNoun.nameHelp)
    var name: String

    @Option(help: "Its new name.")
    var rename: String?

    @OptionGroup var guests: GuestOptions

    @Flag(name: .customLong("no-dns-servers"), help: "Guests ask nobody for names but the network's own.")
    var forgetsServers = false

    @Flag(name: .customLong("no-host-routes"), help: "Guests are told of no routes.")
    var forgetsRoutes = false

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    private var body: JSONObject {
      var body = guests.body(name: rename)
      if forgetsServers { body["dns_servers"] = [] }
      if forgetsRoutes { body["host_routes"] = [] }
      return body
    }

    func validate() throws {
      if forgetsServers, !guests.dnsServer.isEmpty {
        throw ValidationError("--dns-server and --no-dns-servers exclude each other")
      }
      if forgetsRoutes, !guests.hostRoute.isEmpty {
        throw ValidationError("--host-route and --no-host-routes exclude each other")
      }
      if body.isEmpty {
        throw ValidationError(
          "say what to change: --rename, --dns-server, --no-dns-servers, --host-route or --no-host-routes")
      }
    }

    func perform(_ session: Session) async throws(CommandFailure) {
      try await session.update(SubnetNoun.self, name, body, project, dryRun)
    }
  }
}

/// Which of a block's addresses mean what.
struct SubnetRange: ParsableArguments {
  @Option(help: ArgumentHelp("Where packets for elsewhere go [its first address].", valueName: "address"))
  var gateway: String?

  @Flag(name: .customLong("no-gateway"), help: "Packets for elsewhere go nowhere.")
  var hasNoGateway = false

  @Option(help: ArgumentHelp("What is given out [everything]. Can be repeated.", valueName: "first-last"))
  var pool: [String] = []

  func validate() throws {
    if gateway != nil, hasNoGateway { throw ValidationError("--gateway and --no-gateway exclude each other") }
  }

  func say(in body: inout JSONObject) {
    body.say("gateway", gateway)
    if hasNoGateway { body["gateway"] = .null }
    body.say("pools", pool)
  }
}

extension SubnetConfiguration: ExpressibleByArgument {}
