import ArgumentParser
import JSON

enum RouterNoun: ProjectNoun {
  static let collection = "routers"
  static let word = "router"
  static let oneWord = "a router"
  static var presentation: Presentation { .router }
}

/// `aloft router`
struct RouterCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "router", abstract: "Routers, which lead from subnet to subnet and out of the cloud.",
    subcommands: [
      ListCommand<RouterNoun>.self, ShowCommand<RouterNoun>.self, Create.self, Update.self,
      DeleteCommand<RouterNoun>.self, LabelCommand<RouterNoun>.self, Attach.self, Detach.self,
    ])

  /// What a router is made or changed with.
  struct Details: ParsableArguments {
    @Option(help: ArgumentHelp("Where it leads out, by id or name.", valueName: "network"))
    var externalNetwork: String?

    @Flag(inversion: .prefixedNo, help: "Whether what goes out has the router's address.")
    var snat: Bool?

    @Option(help: ArgumentHelp("A way to other addresses. Can be repeated.", valueName: "cidr=next-hop"))
    var route: [LabelPair] = []

    func body(name: String?) -> JSONObject {
      var body = JSONObject()
      body.say("name", name)
      body.say("external_network", externalNetwork)
      if let snat { body["snat"] = .bool(snat) }
      body.say("routes", routes: route)
      return body
    }
  }

  /// `aloft router create`
  struct Create: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Create a router.", discussion: "`aloft router attach` connects it with subnets.")

    @Argument(help: "Its name.")
    var name: String

    @OptionGroup var details: Details
    @OptionGroup var options: CreationOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      try await session.create(RouterNoun.self, details.body(name: name), options)
    }
  }

  /// `aloft router update`
  struct Update: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Change a router. What is not said stays.")

    @Argument(help: RouterNoun.nameHelp)
    var name: String

    @Option(help: "Its new name.")
    var rename: String?

    @OptionGroup var details: Details

    @Flag(name: .customLong("no-external-network"), help: "Lead nowhere out.")
    var leadsNowhere = false

    @Flag(name: .customLong("no-routes"), help: "Forget all routes.")
    var forgetsRoutes = false

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    private var body: JSONObject {
      var body = details.body(name: rename)
      if leadsNowhere { body["external_network"] = .null }
      if forgetsRoutes { body["routes"] = [] }
      return body
    }

    func validate() throws {
      if leadsNowhere, details.externalNetwork != nil {
        throw ValidationError("--external-network and --no-external-network exclude each other")
      }
      if forgetsRoutes, !details.route.isEmpty { throw ValidationError("--route and --no-routes exclude each other") }
      if body.isEmpty {
        throw ValidationError(
          "say what to change: --rename, --external-network, --snat, --no-snat, --route or --no-routes")
      }
    }

    func perform(_ session: Session) async throws(CommandFailure) {
      try await session.update(RouterNoun.self, name, body, project, dryRun)
    }
  }

  /// `aloft router attach`
  struct Attach: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Connect a router with subnets.", discussion: "The subnet's gateway becomes the router's address there."
    )

    @Argument(help: RouterNoun.nameHelp)
    var name: String

    @Argument(help: "The subnets, by id or name.")
    var subnets: [String]

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      var attached: [JSONValue] = []
      for subnet in subnets {
        let call = APICall(
          .put, APIPath.path("routers", name, "interfaces", subnet), query: session.query(project, dryRun: dryRun))
        attached = [try await session.api.send(call).json]
      }
      try await session.printer.changed(attached, as: .router)
    }
  }

  /// `aloft router detach`
  struct Detach: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Take subnets off a router.")

    @Argument(help: RouterNoun.nameHelp)
    var name: String

    @Argument(help: "The subnets, by id or name.")
    var subnets: [String]

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      try await session.delete(
        "interface", subnets, query: session.query(project, dryRun: dryRun), dryRun: dryRun.dryRun
      ) { APIPath.path("routers", name, "interfaces", $0) }
    }
  }
}
