import AloftModel
import Foundation
import JSON
import Postgres

/// What a resource is called, in words, in the API and in the database.
struct Noun: Sendable {
  /// In a sentence: `security group`.
  var word: String
  /// In paths of the API: `security-groups`. The parameter is the word with `_`.
  var path: String
  var table: String
  /// The unique index over project and name.
  var uniqueName: String
  var created: EventKind
  var updated: EventKind
  var deleted: EventKind

  var parameter: String { word.lowercased().replacingOccurrences(of: " ", with: "_") }
  /// `a network`, `an external network`.
  var indefinite: String { ("aeiou".contains(word.prefix(1)) ? "an " : "a ") + word }
}

/// A resource that is a row: it has a name and labels, belongs to a project or to the cloud, and changes in one transaction.
///
/// ``ResourceStore`` finds and locks it, ``Resources`` handles the calls that all such nouns have. What is a noun's own stands
/// with the noun: its columns, what its changes check, what keeps it from being deleted.
protocol Resource: Sendable, JSONWritable {
  associatedtype Kind: TypeIDKind

  static var noun: Noun { get }
  /// Whether it belongs to the cloud and not to a project.
  static var isCloudWide: Bool { get }
  /// Whether it can be called by a name, and not by its id alone.
  static var hasName: Bool { get }
  /// What ``init(_:)`` reads; the table is `r`.
  static var columns: SQL { get }
  /// The same where it is shown: with what is too much to find out each time that the row is only looked up.
  static var shownColumns: SQL { get }
  /// What ``columns`` reads beside the table itself.
  static var joins: SQL { get }
  /// Which row a name means where one that is being deleted still has it, to follow all conditions.
  static var preference: SQL { get }
  /// What keeps rows of other nouns in the same table out, to follow another condition.
  static var restriction: SQL { get }

  init(_ row: Row) throws

  var id: TypeID<Kind> { get }
  /// Nil where it belongs to the cloud.
  var projectID: ProjectID? { get }
  var name: String { get }
  var revision: Int { get }
  /// Where it is found, for who has made it.
  var location: String { get }
}

extension Resource {
  static var isCloudWide: Bool { false }
  static var hasName: Bool { true }
  static var joins: SQL { "" }
  static var preference: SQL { "" }
  static var restriction: SQL { "" }
  static var shownColumns: SQL { columns }

  var location: String { "/v1/\(Self.noun.path)/\(id)" }

  /// Names the version of what was asked for.
  var etag: String { "\"\(revision)\"" }
}
