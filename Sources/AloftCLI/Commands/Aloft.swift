import ArgumentParser

/// The root: nouns, then verbs.
struct Aloft: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "aloft",
    abstract: "Manage virtual machines, images and nodes of an Aloft cloud.",
    discussion: """
      `aloft login` remembers a server and a token. Flags win over the environment, and that over what is remembered:
        ALOFT_URL      the server's address (https://127.0.0.1:8443)
        ALOFT_TOKEN    the API token
        ALOFT_CA_CERT  the authority of the server's certificate
        ALOFT_PROJECT  the project
        ALOFT_CONTEXT  which of several clouds that are remembered

      `aloft help exit-codes` lists the exit codes.
      """,
    version: AloftVersion.number,
    groupedSubcommands: [
      CommandGroup(
        name: "Machines",
        subcommands: [
          VMCommand.self, VolumeCommand.self, SnapshotCommand.self, BackupCommand.self, ImageCommand.self,
          PlacementCommand.self,
        ]),
      CommandGroup(
        name: "Networks",
        subcommands: [
          NetworkCommand.self, SubnetCommand.self, NICCommand.self, RouterCommand.self, SecurityGroupCommand.self,
          FloatingIPCommand.self, LoadBalancerCommand.self, NetworkPeeringCommand.self, ExternalNetworkCommand.self,
        ]),
      CommandGroup(
        name: "Changes",
        subcommands: [OperationCommand.self, EventCommand.self, WebhookCommand.self, AuditCommand.self]),
      CommandGroup(
        name: "Fleet",
        subcommands: [NodeCommand.self, NodePoolCommand.self, NodeTokenCommand.self, StoragePoolCommand.self]),
      CommandGroup(name: "Tenants", subcommands: [ProjectCommand.self, MemberCommand.self, QuotaCommand.self]),
      CommandGroup(name: "Users", subcommands: [WhoAmI.self, UserCommand.self, TokenCommand.self]),
      CommandGroup(name: "Clouds", subcommands: [Login.self, Logout.self, ContextCommand.self]),
      CommandGroup(name: "Tools", subcommands: [RawCall.self, Completion.self, Version.self, ExitCodes.self]),
    ])
}
