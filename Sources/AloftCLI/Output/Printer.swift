import JSON

/// Writes answers to standard output in the format that was asked for.
struct Printer: Sendable {
  let format: OutputFormat
  let surroundings: Surroundings

  private var style: Style {
    Style(isTerminal: surroundings.output.isTerminal, environment: surroundings.environment)
  }

  /// A list: a table with one row per item, or an array.
  func list(_ items: [JSONValue], as presentation: Presentation) async throws(CommandFailure) {
    switch format {
    case .table: try await write(presentation.table(items, now: surroundings.now()).text(style: style))
    case .json: try await write(PrettyJSON.text(.array(items)))
    case .yaml: try await write(try YAMLText.text(.array(items)))
    case .name: try await write(items.map { presentation.name($0) + "\n" }.joined())
    }
  }

  /// One item with everything that is known of it.
  func details(_ item: JSONValue, as presentation: Presentation) async throws(CommandFailure) {
    guard format == .table else { return try await single(item, as: presentation) }
    try await write(Table.details(Presentation.details(item), style: style))
  }

  /// What a change left: one row per item; JSON and YAML show a single item by itself.
  func changed(_ items: [JSONValue], as presentation: Presentation) async throws(CommandFailure) {
    guard let only = items.first else { return }
    if items.count == 1, format != .table {
      try await single(only, as: presentation)
    } else {
      try await list(items, as: presentation)
    }
  }

  /// What was deleted and left nothing to show: the name in the format `name`, otherwise a line for people.
  func deleted(_ noun: String, _ name: String, dryRun: Bool = false) async throws(CommandFailure) {
    if format == .name { return try await write(PrintableText.sanitized(name) + "\n") }
    await surroundings.say("\(dryRun ? "would delete" : "deleted") \(noun) \(name)")
  }

  func write(_ text: String) async throws(CommandFailure) { try await surroundings.output.write(Array(text.utf8)) }

  private func single(_ item: JSONValue, as presentation: Presentation) async throws(CommandFailure) {
    switch format {
    case .table: try await list([item], as: presentation)
    case .json: try await write(PrettyJSON.text(item))
    case .yaml: try await write(try YAMLText.text(item))
    case .name: try await write(presentation.name(item) + "\n")
    }
  }
}
