import AloftModel
import ArgumentParser
import JSON

enum SecurityGroupNoun: ProjectNoun {
  static let collection = "security-groups"
  static let word = "security group"
  static let oneWord = "a security group"
  static var presentation: Presentation { .securityGroup }
}

/// `aloft security-group`
struct SecurityGroupCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "security-group", abstract: "Security groups, which say who may talk to whom.",
    subcommands: [
      ListCommand<SecurityGroupNoun>.self, ShowCommand<SecurityGroupNoun>.self, Create.self,
      DeleteCommand<SecurityGroupNoun>.self, RenameCommand<SecurityGroupNoun>.self,
      LabelCommand<SecurityGroupNoun>.self, Rules.self, AddRule.self, RemoveRule.self,
    ])

  /// `aloft security-group create`
  struct Create: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Create a security group.",
      discussion: "It lets nothing through but what --rule says, or `aloft security-group add-rule` later.")

    @Argument(help: "Its name.")
    var name: String

    @Option(
      help: ArgumentHelp(
        "What it lets through. Can be repeated, as in --rule egress --rule ingress:tcp:443.",
        valueName: "direction[:protocol[:ports[:cidr-or-group]]]"))
    var rule: [RuleArgument] = []

    @OptionGroup var options: CreationOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      var body: JSONObject = ["name": .string(name)]
      if !rule.isEmpty { body["rules"] = .array(rule.map { .object($0.body) }) }
      try await session.create(SecurityGroupNoun.self, body, options)
    }
  }

  /// `aloft security-group rules`
  struct Rules: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "List the rules of a security group.")

    @Argument(help: SecurityGroupNoun.nameHelp)
    var name: String

    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let call = APICall(.get, SecurityGroupNoun.path(name), query: session.query(project))
      let rules = try await session.api.send(call).json["rules"]?.arrayValue ?? []
      try await session.printer.list(rules, as: .securityGroupRule)
    }
  }

  /// `aloft security-group add-rule`
  struct AddRule: ServerCommand {
    static let configuration = CommandConfiguration(
      commandName: "add-rule", abstract: "Let something through.",
      discussion:
        "It takes effect on running machines: aloft security-group add-rule web ingress --protocol tcp --port 443")

    @Argument(help: SecurityGroupNoun.nameHelp)
    var name: String

    @Argument(help: "To the machines or from them.")
    var direction: TrafficDirection

    @Option(help: "What stands above IP [any].")
    var `protocol`: RuleProtocol?

    @Option(
      help: ArgumentHelp("The destination port, or the first and the last: 443 or 8000-8099.", valueName: "ports"))
    var port: PortRange?

    @Option(help: ArgumentHelp("The ICMP type [all].", valueName: "number"))
    var icmpType: Int?

    @Option(help: ArgumentHelp("The ICMP code [all].", valueName: "number"))
    var icmpCode: Int?

    @Option(help: ArgumentHelp("The other end: a block or a security group [anybody].", valueName: "cidr-or-group"))
    var remote: String?

    @Option(help: ArgumentHelp("4 or 6 [what the remote block is, else 4].", valueName: "number"))
    var ipVersion: Int?

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var key: KeyOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      var body: JSONObject = ["direction": .string(direction.rawValue)]
      body.say("protocol", `protocol`?.rawValue)
      body.say("first_port", port?.first)
      body.say("last_port", port?.last)
      body.say("icmp_type", icmpType)
      body.say("icmp_code", icmpCode)
      body.say("remote", remote)
      body.say("ip_version", ipVersion)
      let call = APICall(
        .post, APIPath.path("security-groups", name, "rules"), query: session.query(project, dryRun: dryRun),
        body: .object(body), key: session.key(key))
      try await session.printer.changed([try await session.api.send(call).json], as: .securityGroupRule)
    }
  }

  /// `aloft security-group remove-rule`
  struct RemoveRule: ServerCommand {
    static let configuration = CommandConfiguration(
      commandName: "remove-rule", abstract: "Let something through no more.")

    @Argument(help: SecurityGroupNoun.nameHelp)
    var name: String

    @Argument(help: "The rules, by id.")
    var rules: [String]

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      try await session.delete("rule", rules, query: session.query(project, dryRun: dryRun), dryRun: dryRun.dryRun) {
        APIPath.path("security-groups", name, "rules", $0)
      }
    }
  }
}

/// `443` or `8000-8099` on the command line.
struct PortRange: ExpressibleByArgument, Equatable, Sendable {
  let first: Int
  let last: Int

  init?(argument: String) {
    let parts = argument.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
    guard (1...2).contains(parts.count), let first = parts[0], let last = parts[parts.count - 1] else { return nil }
    (self.first, self.last) = (first, last)
  }
}

extension TrafficDirection: ExpressibleByArgument {}
extension RuleProtocol: ExpressibleByArgument {}
