import AloftModel
import ArgumentParser
import JSON

/// `aloft user`
struct UserCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "user", abstract: "Who may hold API tokens, and their roles in the whole cloud.",
    subcommands: [Create.self, List.self, Show.self, Update.self, SetPassword.self, Delete.self])

  /// `aloft user create`
  struct Create: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a user.",
      discussion:
        "It can do nothing yet: `aloft user set-password` lets it log in, `aloft token create --user` makes its first token."
    )

    @Argument(help: "Its name.")
    var name: String

    @Option(help: "Whether it is a person, or a program that acts for itself.")
    var kind: UserKind?

    @Option(help: ArgumentHelp("What it may in the whole cloud: auditor, operator, admin.", valueName: "role"))
    var cloudRole: CloudRole?

    @Flag(help: "Refuse its tokens until it is enabled.")
    var disabled = false

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var key: KeyOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      var body: JSONObject = ["name": .string(name)]
      body["kind"] = kind.map { .string($0.rawValue) }
      body["cloud_role"] = cloudRole.map { .string($0.rawValue) }
      if disabled { body["disabled"] = true }
      let call = APICall(
        .post, APIPath.path("users"), query: Session.query(dryRun), body: .object(body), key: session.key(key))
      try await session.printer.changed([try await session.api.send(call).json], as: .user)
    }
  }

  /// `aloft user list`
  struct List: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "List users.")

    @OptionGroup var list: ListOptions
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      try await session.printer.list(
        try await session.api.items(APIPath.path("users"), limit: list.limit), as: .user)
    }
  }

  /// `aloft user show`
  struct Show: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Show a user.")

    @Argument(help: "The user, by id or name.")
    var name: String

    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let answer = try await session.api.send(APICall(.get, APIPath.path("users", name)))
      try await session.printer.details(answer.json, as: .user)
    }
  }

  /// `aloft user update`
  struct Update: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Change a user.", discussion: "Its tokens feel it within half a second.")

    @Argument(help: "The user, by id or name.")
    var name: String

    @Option(help: ArgumentHelp("Another name.", valueName: "name"))
    var rename: String?

    @Option(help: ArgumentHelp("Another role in the whole cloud: auditor, operator, admin.", valueName: "role"))
    var cloudRole: CloudRole?

    @Flag(help: "Take the role in the whole cloud away.")
    var noCloudRole = false

    @Flag(help: "Refuse its tokens.")
    var disable = false

    @Flag(help: "Accept its tokens again.")
    var enable = false

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var common: CommonOptions

    func validate() throws {
      if cloudRole != nil, noCloudRole {
        throw ValidationError("--cloud-role and --no-cloud-role contradict each other")
      }
      if disable, enable { throw ValidationError("--disable and --enable contradict each other") }
      if rename == nil, cloudRole == nil, !noCloudRole, !disable, !enable {
        throw ValidationError("say what to change, such as --disable")
      }
    }

    func perform(_ session: Session) async throws(CommandFailure) {
      var body = JSONObject()
      body["name"] = rename.map { .string($0) }
      body["cloud_role"] = noCloudRole ? .null : cloudRole.map { .string($0.rawValue) }
      if disable || enable { body["disabled"] = .bool(disable) }
      let call = APICall(.patch, APIPath.path("users", name), query: Session.query(dryRun), body: .object(body))
      try await session.printer.changed([try await session.api.send(call).json], as: .user)
    }
  }

  /// `aloft user delete`
  struct Delete: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Delete users with their tokens and memberships.")

    @Argument(help: "The users, by id or name.")
    var names: [String]

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      try await session.delete("user", names, query: Session.query(dryRun), dryRun: dryRun.dryRun) {
        APIPath.path("users", $0)
      }
    }
  }
}

/// `aloft whoami`
struct WhoAmI: ServerCommand {
  static let configuration = CommandConfiguration(
    commandName: "whoami", abstract: "Show for whom the token acts, and what it allows.")

  @OptionGroup var common: CommonOptions

  func perform(_ session: Session) async throws(CommandFailure) {
    try await session.printer.details(
      try await session.api.send(APICall(.get, APIPath.path("whoami"))).json, as: .caller)
  }
}

extension UserKind: ExpressibleByArgument {}
extension CloudRole: ExpressibleByArgument {}
