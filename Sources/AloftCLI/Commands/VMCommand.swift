import ArgumentParser

/// `aloft vm`
struct VMCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "vm", abstract: "Virtual machines.",
    subcommands: [
      List.self, ShowCommand<VMNoun>.self, Create.self, Start.self, Stop.self, Reboot.self, Delete.self,
      RenameCommand<VMNoun>.self, LabelCommand<VMNoun>.self,
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
}
