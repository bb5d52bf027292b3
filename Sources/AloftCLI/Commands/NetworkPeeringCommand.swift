import ArgumentParser
import JSON

enum NetworkPeeringNoun: ProjectNoun {
  static let collection = "network-peerings"
  static let word = "network peering"
  static let oneWord = "a network peering"
  static var presentation: Presentation { .networkPeering }
}

/// `aloft network-peering`
struct NetworkPeeringCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "network-peering", abstract: "Links between networks that have routers of their own.",
    subcommands: [
      ListCommand<NetworkPeeringNoun>.self, ShowCommand<NetworkPeeringNoun>.self, Create.self,
      DeleteCommand<NetworkPeeringNoun>.self, RenameCommand<NetworkPeeringNoun>.self,
      LabelCommand<NetworkPeeringNoun>.self,
    ])

  /// `aloft network-peering create`
  struct Create: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Link two networks of a project.")

    @Argument(help: "Its name.")
    var name: String

    @Argument(help: "One network, by id or name.")
    var network: String

    @Argument(help: "The other, by id or name.")
    var peerNetwork: String

    @OptionGroup var options: CreationOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let body: JSONObject = [
        "name": .string(name), "network": .string(network), "peer_network": .string(peerNetwork),
      ]
      try await session.create(NetworkPeeringNoun.self, body, options)
    }
  }
}
