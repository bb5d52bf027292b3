import ArgumentParser
import JSON

/// What every creation in a project takes.
struct CreationOptions: ParsableArguments {
  @Option(name: .shortAndLong, help: ArgumentHelp("A label. Can be repeated.", valueName: "key=value"))
  var label: [LabelPair] = []

  @OptionGroup var dryRun: DryRunOption
  @OptionGroup var key: KeyOption
  @OptionGroup var project: ProjectOption
}

extension Session {
  /// Creates one, and prints what became of it.
  func create<Noun: ProjectNoun>(
    _ noun: Noun.Type, _ body: JSONObject, _ options: CreationOptions
  ) async throws(CommandFailure) {
    var body = body
    if !options.label.isEmpty { body["labels"] = LabelPair.object(options.label) }
    let call = APICall(
      .post, APIPath.path(Noun.collection), query: query(options.project, dryRun: options.dryRun), body: .object(body),
      key: key(options.key))
    try await printer.changed([try await api.send(call).json], as: Noun.presentation)
  }

  /// Changes one, and prints what became of it.
  func update<Noun: ProjectNoun>(
    _ noun: Noun.Type, _ name: String, _ body: JSONObject, _ project: ProjectOption, _ dryRun: DryRunOption
  ) async throws(CommandFailure) {
    let call = APICall(.patch, Noun.path(name), query: query(project, dryRun: dryRun), body: .object(body))
    try await printer.changed([try await api.send(call).json], as: Noun.presentation)
  }
}

/// `aloft router list` and others that are filtered by labels alone.
struct ListCommand<Noun: ProjectNoun>: ServerCommand {
  static var configuration: CommandConfiguration {
    CommandConfiguration(commandName: "list", abstract: "List \(Noun.word)s.")
  }

  @OptionGroup var labels: LabelFilterOption
  @OptionGroup var list: ListOptions
  @OptionGroup var project: ProjectOption
  @OptionGroup var common: CommonOptions

  func perform(_ session: Session) async throws(CommandFailure) {
    let items = try await session.api.items(
      APIPath.path(Noun.collection), query: session.query(project) + labels.query, limit: list.limit)
    try await session.printer.list(items, as: Noun.presentation)
  }
}

/// `aloft router delete` and others.
struct DeleteCommand<Noun: ProjectNoun>: ServerCommand {
  static var configuration: CommandConfiguration {
    CommandConfiguration(commandName: "delete", abstract: "Delete \(Noun.word)s.")
  }

  @Argument(help: ArgumentHelp(stringLiteral: "The \(Noun.word)s, by id or name."))
  var names: [String]

  @OptionGroup var dryRun: DryRunOption
  @OptionGroup var project: ProjectOption
  @OptionGroup var common: CommonOptions

  func perform(_ session: Session) async throws(CommandFailure) {
    try await session.delete(Noun.word, names, query: session.query(project, dryRun: dryRun), dryRun: dryRun.dryRun) {
      Noun.path($0)
    }
  }
}

extension JSONObject {
  /// Sets what was said.
  mutating func say(_ name: String, _ text: String?) { if let text { self[name] = .string(text) } }
  mutating func say(_ name: String, _ number: Int?) { if let number { self[name] = .integer(Int64(number)) } }
  /// Sets a list; an empty one was not said.
  mutating func say(_ name: String, _ texts: [String]) {
    if !texts.isEmpty { self[name] = .array(texts.map { .string($0) }) }
  }
  /// Sets routes, which are said as `destination=next-hop`.
  mutating func say(_ name: String, routes: [LabelPair]) {
    guard !routes.isEmpty else { return }
    self[name] = .array(routes.map { ["destination": .string($0.key), "next_hop": .string($0.value)] })
  }
}
