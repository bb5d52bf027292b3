import AloftModel
import ArgumentParser
import Foundation
import JSON

/// `aloft quota`
struct QuotaCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "quota", abstract: "How much projects may hold.",
    subcommands: [Show.self, Set.self, Defaults.self, SetDefaults.self])

  /// `aloft quota show`
  struct Show: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Show what a project uses, and its limits.")

    @OptionGroup var project: ProjectInPath
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let answer = try await session.api.send(APICall(.get, project.path(session, "usage")))
      try await session.printer.list(answer.json["items"]?.arrayValue ?? [], as: .usage)
    }
  }

  /// `aloft quota set`
  struct Set: ServerCommand {
    static let configuration = CommandConfiguration(
      abstract: "Change a project's own limits. The others stay.",
      discussion: """
        A limit below what is used takes nothing away: the project gets no more until it is below.
        """)

    @Argument(
      help: ArgumentHelp(
        "quota=number, quota=unlimited whatever the default says, or quota=default.", valueName: "limit"))
    var edits: [QuotaEdit]

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var project: ProjectInPath
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let item = try await session.api.editQuotas(
        project.path(session, "quotas"), edits: edits, dryRun: dryRun.dryRun)
      try await session.printer.details(item, as: .quotas)
    }
  }

  /// `aloft quota defaults`
  struct Defaults: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Show the limits that projects have by default.")

    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let answer = try await session.api.send(APICall(.get, APIPath.path("quotas")))
      try await session.printer.details(answer.json, as: .quotas)
    }
  }

  /// `aloft quota set-defaults`
  struct SetDefaults: ServerCommand {
    static let configuration = CommandConfiguration(
      commandName: "set-defaults", abstract: "Change the limits that projects have by default. The others stay.")

    @Argument(help: ArgumentHelp("quota=number, or quota=unlimited.", valueName: "limit"))
    var edits: [QuotaEdit]

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let item = try await session.api.editQuotas(APIPath.path("quotas"), edits: edits, dryRun: dryRun.dryRun)
      try await session.printer.details(item, as: .quotas)
    }
  }
}

/// One limit to be changed: `vms=20`, `vms=unlimited`, `vms=default`.
struct QuotaEdit: ExpressibleByArgument, Sendable {
  enum Limit: Sendable, Equatable {
    case most(Int)
    case unlimited
    case byDefault
  }

  let quota: Quota
  let limit: Limit

  init?(argument: String) {
    let parts = argument.split(separator: "=", maxSplits: 1).map(String.init)
    guard parts.count == 2, let quota = Quota(rawValue: parts[0].replacing("-", with: "_")) else { return nil }
    switch parts[1] {
    case "unlimited": limit = .unlimited
    case "default": limit = .byDefault
    default:
      guard let most = Int(parts[1]), most >= 0 else { return nil }
      limit = .most(most)
    }
    self.quota = quota
  }

  func apply(to limits: inout JSONObject) {
    switch limit {
    case .most(let most): limits[quota.rawValue] = .integer(Int64(most))
    case .unlimited: limits[quota.rawValue] = .null
    case .byDefault: limits[quota.rawValue] = nil
    }
  }
}
