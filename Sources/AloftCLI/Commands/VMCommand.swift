import ArgumentParser

/// `aloft vm`
struct VMCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "vm", abstract: "Virtual machines.",
    subcommands: [
      List.self, Show.self, Create.self, Start.self, Stop.self, Reboot.self, Delete.self, Rename.self, Label.self,
      SerialLog.self,
    ])

  /// `aloft vm list`
  struct List: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "List virtual machines.")

    @Option(help: "Keep what is placed on this node.")
    var node: String?

    @OptionGroup var labels: LabelFilterOption
    @OptionGroup var list: ListOptions
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let query = session.query(project) + labels.query + (node.map { [("node", $0)] } ?? [])
      let items = try await session.api.items(APIPath.path("vms"), query: query, limit: list.limit)
      try await session.printer.list(items, as: .vm)
    }
  }

  /// `aloft vm show`
  struct Show: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Show a virtual machine.")

    @Argument(help: "The virtual machine, by id or name.")
    var name: String

    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let call = APICall(.get, APIPath.path("vms", name), query: session.query(project))
      try await session.printer.details(try await session.api.send(call).json, as: .vm)
    }
  }

  /// `aloft vm rename`
  struct Rename: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Give a virtual machine another name.")

    @Argument(help: "The virtual machine, by id or name.")
    var name: String

    @Argument(help: "Its new name.")
    var newName: String

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let call = APICall(
        .patch, APIPath.path("vms", name), query: session.query(project, dryRun: dryRun),
        body: ["name": .string(newName)])
      try await session.printer.changed([try await session.api.send(call).json], as: .vm)
    }
  }

  /// `aloft vm label`
  struct Label: ServerCommand {
    static let configuration = CommandConfiguration(abstract: "Set or remove labels of a virtual machine.")

    @Argument(help: "The virtual machine, by id or name.")
    var name: String

    @Argument(help: ArgumentHelp("key=value sets a label, key- removes it.", valueName: "edit"))
    var edits: [LabelEdit]

    @OptionGroup var dryRun: DryRunOption
    @OptionGroup var project: ProjectOption
    @OptionGroup var common: CommonOptions

    func perform(_ session: Session) async throws(CommandFailure) {
      let item = try await session.api.editLabels(
        APIPath.path("vms", name), query: session.query(project), edits: edits, dryRun: dryRun.dryRun)
      try await session.printer.changed([item], as: .vm)
    }
  }
}
