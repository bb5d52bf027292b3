// The OVSDB module: a client of OVSDB servers (RFC 7047 and ovsdb-server(7)) over Unix sockets, TCP and TLS.
//
// Invariants
// - Everything that blocks runs on the one thread of a client (`ClientLoop`); callers only suspend.
// - What is sent is made of typed values; nobody writes JSON by hand.
// - A transaction succeeds only if none of the three places where errors hide holds one (`TransactReply`).
// - A transaction that was sent and not answered is never sent again: its outcome is unknown, and the error says so.
// - A replica changes by whole notifications, so a snapshot is always one that the server had committed.
// - Messages from a server are bounded in size and depth before they are parsed.

import FoundationEssentials

/// An atomic value of OVSDB (RFC 7047, 5.1).
///
/// The wire writes the real 1.0 and the integer 1 alike, so a whole real equals the integer of its value.
public enum Atom: Sendable {
  case integer(Int64)
  /// Finite.
  case real(Double)
  case boolean(Bool)
  case string(String)
  /// The identity of a row.
  case uuid(UUID)
  /// The row that an insert of the same transaction makes under that name.
  case namedUUID(String)
}

extension Atom: Hashable {
  public static func == (a: Atom, b: Atom) -> Bool {
    switch (a, b) {
    case (.integer(let x), .integer(let y)): x == y
    case (.real(let x), .real(let y)): x == y
    case (.integer(let x), .real(let y)), (.real(let y), .integer(let x)): Int64(exactly: y) == x
    case (.boolean(let x), .boolean(let y)): x == y
    // By bytes: Swift's own equality takes composed and decomposed characters for the same, the server does not.
    case (.string(let x), .string(let y)): x.utf8.elementsEqual(y.utf8)
    case (.uuid(let x), .uuid(let y)): x == y
    case (.namedUUID(let x), .namedUUID(let y)): x == y
    default: false
    }
  }

  public func hash(into hasher: inout Hasher) {
    switch self {
    case .integer(let value): hasher.combine(value)
    case .real(let value):
      if let whole = Int64(exactly: value) { hasher.combine(whole) } else { hasher.combine(value) }
    case .boolean(let value): hasher.combine(value)
    case .string(let value): hasher.combine(value)
    case .uuid(let value): hasher.combine(value)
    case .namedUUID(let value): hasher.combine(value)
    }
  }
}

extension Atom: ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByBooleanLiteral,
  ExpressibleByStringLiteral
{
  public init(integerLiteral value: Int64) { self = .integer(value) }
  public init(floatLiteral value: Double) { self = .real(value) }
  public init(booleanLiteral value: Bool) { self = .boolean(value) }
  public init(stringLiteral value: String) { self = .string(value) }
}
