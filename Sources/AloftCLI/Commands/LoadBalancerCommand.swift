import ArgumentParser
import JSON

enum LoadBalancerNoun: ProjectNoun {
  static let collection = "load-balancers"
  static let word = "load balancer"
  static let oneWord = "a load balancer"
  static var presentation: Presentation { .loadBalancer }
}

/// `aloft load-balancer`
struct LoadBalancerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "load-balancer", abstract: "Load balancers: one address that leads to several members.",
    subcommands: [
      ListCommand<LoadBalancerNoun>.self, ShowCommand<LoadBalancerNoun>.self, Create.self, Listen.self,
      DeleteCommand<LoadBalancerNoun>.self, RenameCommand<LoadBalancerNoun>.self,
      LabelCommand<LoadBalancerNoun>.self,
    ])

  /// What it listens on.
  struct ListenerOptions: ParsableArguments {
    @Option(
      name: .customLong("listener"),
      help: ArgumentHelp(
        "A port and its members, each a NIC or an address with a port. Can be repeated.",
        valueName: "tcp:80=10.0.0.7:8080,nic_…:8080"))
    var listeners: [ListenerArgument] = []

    @Flag(help: "Try the members, and leave out those that do not answer.")
    var healthCheck = false

    @Option(help: ArgumentHelp("Between two tries of a member [5]; it implies --health-check.", valueName: "seconds"))
    var checkInterval: Int?

    @Option(help: ArgumentHelp("After which a try has failed [20]; it implies --health-check.", valueName: "seconds"))
    var checkTimeout: Int?

    @Option(help: ArgumentHelp("So many in a row, and a member gets nothing any more [3].", valueName: "number"))
    var checkFailures: Int?

    @Option(help: ArgumentHelp("So many in a row, and a member gets connections again [3].", valueName: "number"))
    var checkSuccesses: Int?

    var value: JSONValue {
      var check = JSONObject()
      check.say("interval_seconds", checkInterval)
      check.say("timeout_seconds", checkTimeout)
      check.say("failures", checkFailures)
      check.say("successes", checkSuccesses)
      return .array(
        listeners.map { listener in
          var body = listener.body
          if healthCheck || !check.isEmpty { body["health_check"] = .object(check) }
          return .object(body)
        })
    }
  }

  /// `aloft load-balancer create`
  struct Create: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Create a load balancer.")

    @Argument(help: "Its name.")
    var name: String

    @Option(help: "The subnet that its address is of, by id or name.")
    var subnet: String

    @Option(help: "Its address, if it is to be a certain one.")
    var address: String?

    @OptionGroup var listening: ListenerOptions
    @OptionGroup var options: CreationOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      var body: JSONObject = ["name": .string(name), "subnet": .string(subnet)]
      body.say("address", address)
      if !listening.listeners.isEmpty { body["listeners"] = listening.value }
      try await session.create(LoadBalancerNoun.self, body, options)
    }
  }

  /// `aloft load-balancer listen`
  struct Listen: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Say all that a load balancer listens on.", discussion: "What it listened on before it does no more.")

    @Argument(help: LoadBalancerNoun.nameHelp)
    var name: String

    @OptionGroup var listening: ListenerOptions
    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      try await session.update(LoadBalancerNoun.self, name, ["listeners": listening.value], project, dryRun)
    }
  }
}

/// `tcp:80=10.0.0.7:8080,nic_…:8080` on the command line; an IPv6 address stands in brackets.
struct ListenerArgument: ExpressibleByArgument, Sendable {
  let body: JSONObject

  init?(argument: String) {
    let sides = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    let own = sides[0].split(separator: ":", omittingEmptySubsequences: false)
    guard own.count == 2, ["tcp", "udp"].contains(own[0]), let port = Int(own[1]) else { return nil }
    var members: [JSONValue] = []
    for text in sides.count == 2 ? sides[1].split(separator: ",") : [] {
      guard let member = Self.member(String(text)) else { return nil }
      members.append(member)
    }
    body = ["protocol": .string(String(own[0])), "port": .integer(Int64(port)), "members": .array(members)]
  }

  private static func member(_ text: String) -> JSONValue? {
    guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]) else { return nil }
    var name = String(text[..<colon])
    if name.hasPrefix("["), name.hasSuffix("]") { name = String(name.dropFirst().dropLast()) }
    if name.isEmpty { return nil }
    return [name.hasPrefix("nic_") ? "nic" : "address": .string(name), "port": .integer(Int64(port))]
  }
}
