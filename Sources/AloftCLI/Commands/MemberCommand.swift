import AloftModel
import ArgumentParser
import JSON

/// `aloft member`
struct MemberCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "member", abstract: "Who may do what in a project.",
    subcommands: [List.self, Show.self, Set.self, Remove.self])

  /// `aloft member list`
  struct List: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "List the members of a project.")

    @OptionGroup var list: ListOptions
    @OptionGroup var project: ProjectInPath
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let items = try await session.api.items(project.path(session, "members"), limit: list.limit)
      try await session.printer.list(items, as: .member)
    }
  }

  /// `aloft member show`
  struct Show: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Show a member of a project.")

    @Argument(help: "The user, by id or name.")
    var user: String

    @OptionGroup var project: ProjectInPath
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let answer = try await session.api.send(APICall(.get, project.path(session, "members", user)))
      try await session.printer.details(answer.json, as: .member)
    }
  }

  /// `aloft member set`
  struct Set: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Add users to a project, or give them another role in it.",
      discussion: """
        A viewer sees what is in the project, a member changes it, an admin changes its members and its name too.
        """)

    @Argument(help: "The users, by id or name.")
    var users: [String]

    @Option(help: "What they may do.")
    var role: ProjectRole

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var project: ProjectInPath
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      var batch = Batch()
      var members: [JSONValue] = []
      for user in users {
        let call = APICall(
          .put, project.path(session, "members", user), query: Session.query(dryRun),
          body: ["role": .string(role.rawValue)])
        let answer = try await batch.attempt(user, several: users.count > 1, session.surroundings) {
          () async throws(CommandFailure) in try await session.api.send(call)
        }
        if let answer { members.append(answer.json) }
      }
      try await session.printer.changed(members, as: .member)
      if let failure = batch.firstFailure { throw .alreadyTold(failure.status) }
    }
  }

  /// `aloft member remove`
  struct Remove: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Remove members from a project.")

    @Argument(help: "The users, by id or name.")
    var users: [String]

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var project: ProjectInPath
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      try await session.delete("membership of", users, query: Session.query(dryRun), dryRun: dryRun.dryRun) {
        project.path(session, "members", $0)
      }
    }
  }
}

extension ProjectRole: ExpressibleByArgument {}
