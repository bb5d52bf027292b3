import Foundation

extension PostgresServer {
  /// What the server logged of each deadlock in a database: who waited for whom, and with which statements.
  ///
  /// A session logs its error before it answers, so all that callers have seen is here.
  public func deadlocks(database: String) throws -> [String] {
    let lines = try String(contentsOfFile: directory + "/log", encoding: .utf8).split(separator: "\n")
    var reports: [String] = []
    /// The process whose report goes on; its lines may have those of others between them.
    var reporter: Substring?
    var isOfReporter = false
    for line in lines {
      if line.first == "\t" {
        if isOfReporter { reports[reports.count - 1] += "\n" + line }
        continue
      }
      let parts = line.split(separator: " ", maxSplits: 2)
      guard parts.count == 3, parts[1] == database else {
        isOfReporter = false
        continue
      }
      if parts[2].hasSuffix("deadlock detected") {
        reports.append("")
        reporter = parts[0]
      }
      isOfReporter = parts[0] == reporter
      guard isOfReporter else { continue }
      reports[reports.count - 1] += "\n" + parts[2]
      if parts[2].hasPrefix("STATEMENT:") { reporter = nil }
    }
    return reports
  }
}
