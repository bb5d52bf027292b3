import ArgumentParser
import JSON

enum NetworkNoun: ProjectNoun {
  static let collection = "networks"
  static let word = "network"
  static let oneWord = "a network"
  static var presentation: Presentation { .network }
}

/// `aloft network`
struct NetworkCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "network", abstract: "Networks, which virtual machines are connected to.",
    subcommands: [
      ListCommand<NetworkNoun>.self, ShowCommand<NetworkNoun>.self, Create.self, Update.self,
      DeleteCommand<NetworkNoun>.self, LabelCommand<NetworkNoun>.self, Topology.self,
    ])

  /// What a network is made or changed with.
  struct Details: ParsableArguments {
    @Option(help: ArgumentHelp("The largest packet [the largest that the nodes can carry].", valueName: "bytes"))
    var mtu: Int?

    @Option(help: ArgumentHelp("In which its machines have names.", valueName: "domain"))
    var dnsDomain: String?

    func body(name: String?) -> JSONObject {
      var body = JSONObject()
      body.say("name", name)
      body.say("mtu", mtu)
      body.say("dns_domain", dnsDomain)
      return body
    }
  }

  /// `aloft network create`
  struct Create: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Create a network.", discussion: "`aloft subnet create` gives it addresses.")

    @Argument(help: "Its name.")
    var name: String

    @OptionGroup var details: Details
    @OptionGroup var options: CreationOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      try await session.create(NetworkNoun.self, details.body(name: name), options)
    }
  }

  /// `aloft network update`
  struct Update: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Change a network. What is not said stays.")

    @Argument(help: NetworkNoun.nameHelp)
    var name: String

    @Option(help: "Its new name.")
    var rename: String?

    @OptionGroup var details: Details
    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func validate() throws {
      if details.body(name: rename).isEmpty {
        throw ValidationError("say what to change: --rename, --mtu or --dns-domain")
      }
    }

    func perform(_ session: Session) async throws(CommandFailure) {
      try await session.update(NetworkNoun.self, name, details.body(name: rename), project, dryRun)
    }
  }

  /// `aloft network topology`
  struct Topology: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show a network with all that is connected with it.",
      discussion: "As a table it is a line for each thing; -o json or yaml shows the whole.")

    @Argument(help: NetworkNoun.nameHelp)
    var name: String

    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let call = APICall(
        .get, APIPath.path("networks", name, "topology"), query: session.query(project))
      let document = try await session.api.send(call).json
      guard session.printer.format == .table else {
        return try await session.printer.details(document, as: .topology)
      }
      try await session.printer.list(Self.lines(document), as: .topology)
    }

    /// A line for each thing in the document, with the word of its part.
    static func lines(_ document: JSONValue) -> [JSONValue] {
      (document.objectValue ?? [:]).flatMap { part, value -> [JSONValue] in
        let items = value.arrayValue ?? [value]
        return items.map { item in
          var line = item.objectValue ?? [:]
          line["kind"] = .string(part.hasSuffix("s") ? String(part.dropLast()) : part)
          return .object(line)
        }
      }
    }
  }
}
