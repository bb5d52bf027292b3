import ArgumentParser

/// What is written to standard output.
enum OutputFormat: String, CaseIterable, Sendable, ExpressibleByArgument {
  /// Columns for people.
  case table
  /// The server's JSON, indented; a list is one array of the items of all pages.
  case json
  /// The same as YAML 1.1.
  case yaml
  /// One name per line, for scripts.
  case name
}
