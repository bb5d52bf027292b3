import ArgumentParser

/// What is done in the same way to everything that belongs to a project.
protocol ProjectNoun: Sendable {
  /// Its collection in the API: `vms`.
  static var collection: String { get }
  /// How people call one, with and without the article: "a virtual machine".
  static var word: String { get }
  static var oneWord: String { get }
  static var presentation: Presentation { get }
}

enum VMNoun: ProjectNoun {
  static let collection = "vms"
  static let word = "virtual machine"
  static let oneWord = "a virtual machine"
  static var presentation: Presentation { .vm }
}

enum ImageNoun: ProjectNoun {
  static let collection = "images"
  static let word = "image"
  static let oneWord = "an image"
  static var presentation: Presentation { .image }
}

extension ProjectNoun {
  static var nameHelp: ArgumentHelp { ArgumentHelp(stringLiteral: "The \(word), by id or name.") }

  static func path(_ name: String) -> String { APIPath.path(collection, name) }
}

/// `aloft vm show`, `aloft image show`
struct ShowCommand<Noun: ProjectNoun>: ServerCommand {
  static var configuration: CommandConfiguration {
    CommandConfiguration(commandName: "show", abstract: "Show \(Noun.oneWord).")
  }

  @Argument(help: Noun.nameHelp)
  var name: String

  @OptionGroup var project: ProjectOption
  @OptionGroup var common: CommonOptions

  func perform(_ session: Session) async throws(CommandFailure) {
    let call = APICall(.get, Noun.path(name), query: session.query(project))
    try await session.printer.details(try await session.api.send(call).json, as: Noun.presentation)
  }
}

/// `aloft vm rename`, `aloft image rename`
struct RenameCommand<Noun: ProjectNoun>: ServerCommand {
  static var configuration: CommandConfiguration {
    CommandConfiguration(commandName: "rename", abstract: "Give \(Noun.oneWord) another name.")
  }

  @Argument(help: Noun.nameHelp)
  var name: String

  @Argument(help: "Its new name.")
  var newName: String

  @OptionGroup var dryRun: DryRunOption
  @OptionGroup var project: ProjectOption
  @OptionGroup var common: CommonOptions

  func perform(_ session: Session) async throws(CommandFailure) {
    let call = APICall(
      .patch, Noun.path(name), query: session.query(project, dryRun: dryRun), body: ["name": .string(newName)])
    try await session.printer.changed([try await session.api.send(call).json], as: Noun.presentation)
  }
}

/// `aloft vm label`, `aloft image label`
struct LabelCommand<Noun: ProjectNoun>: ServerCommand {
  static var configuration: CommandConfiguration {
    CommandConfiguration(commandName: "label", abstract: "Set or remove labels of \(Noun.oneWord).")
  }

  @Argument(help: Noun.nameHelp)
  var name: String

  @Argument(help: ArgumentHelp("key=value sets a label, key- removes it.", valueName: "edit"))
  var edits: [LabelEdit]

  @OptionGroup var dryRun: DryRunOption
  @OptionGroup var project: ProjectOption
  @OptionGroup var common: CommonOptions

  func perform(_ session: Session) async throws(CommandFailure) {
    let item = try await session.api.editLabels(
      Noun.path(name), query: session.query(project), edits: edits, dryRun: dryRun.dryRun)
    try await session.printer.changed([item], as: Noun.presentation)
  }
}
