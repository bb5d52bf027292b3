/// What the metadata address answers to a DNS query over UDP (RFC 1035): a pure function of the message.
///
/// Queries come here that OVN has passed over: it answers for the names that it has, if they have what is asked for. A name
/// without IPv6 address is passed over when it is asked for one, and resolvers that ask for both wait for both.
///
/// Invariants
/// - An answer is never longer than its query, and what is an answer itself is not answered: nothing is amplified, nothing
///   goes on for ever.
/// - No name is said not to exist: OVN may have it, with other data, and resolvers would stop to ask for that (RFC 8020).
/// - What has additional records (EDNS, RFC 6891) is a format error, also for a name that has data: OVN cannot read it, and
///   resolvers ask again without.
enum NameAnswer {
  /// RFC 1035, 4.1.1.
  enum Code: UInt8 {
    case noError = 0
    case formatError = 1
    case notImplemented = 4
    case refused = 5
  }

  private static let headerLength = 12
  private static let isAnswer: UInt8 = 0x80
  private static let operation: UInt8 = 0x78
  private static let isAuthoritative: UInt8 = 0x04
  private static let wantsRecursion: UInt8 = 0x01

  /// Nil: nothing is answered.
  static func answer(to query: [UInt8], domain: NameDomain) -> [UInt8]? {
    guard query.count >= headerLength, query[2] & isAnswer == 0 else { return nil }
    guard query[2] & operation == 0 else { return message(query, .notImplemented, [], isOurs: false) }
    // How many questions, answers, authorities and additional records there are.
    let counts = (0..<4).map { UInt16(query[4 + 2 * $0]) << 8 | UInt16(query[5 + 2 * $0]) }
    guard counts[0...2] == [1, 0, 0], let question = Question(query[headerLength...]) else {
      return message(query, .formatError, [], isOurs: false)
    }
    guard counts[3] == 0 else { return message(query, .formatError, question.bytes, isOurs: false) }
    // glibc passes over an empty answer that is not authoritative, and asks another server.
    let isOurs = question.isInternet && domain.contains(question.name)
    return message(query, isOurs ? .noError : .refused, question.bytes, isOurs: isOurs)
  }

  private static func message(_ query: [UInt8], _ code: Code, _ question: ArraySlice<UInt8>, isOurs: Bool) -> [UInt8] {
    var flags = isAnswer | query[2] & (operation | wantsRecursion)
    if isOurs { flags |= isAuthoritative }
    return [query[0], query[1], flags, code.rawValue, 0, question.isEmpty ? 0 : 1, 0, 0, 0, 0, 0, 0] + question
  }
}

/// The one question of a query (RFC 1035, 4.1.2).
private struct Question {
  /// The labels, in lower case.
  let name: [[UInt8]]
  /// Whether its class is IN or any.
  let isInternet: Bool
  /// As it stands in the query.
  let bytes: ArraySlice<UInt8>

  /// Nil unless a question stands at the beginning. Nothing is before it that its name could refer to, so compressed names are
  /// none.
  init?(_ message: ArraySlice<UInt8>) {
    var rest = message
    var name: [[UInt8]] = []
    while let length = rest.popFirst(), length > 0 {
      guard length <= 63, rest.count > length else { return nil }
      name.append(rest.prefix(Int(length)).map(NameDomain.lowercased))
      rest.removeFirst(Int(length))
    }
    // The type, of which no more is known than that OVN has nothing of it; the class.
    guard rest.startIndex - message.startIndex <= 255, rest.count >= 4 else { return nil }
    let type = rest.prefix(4)
    self.name = name
    isInternet = [[0, 1], [0, 255]].contains(Array(type.suffix(2)))
    bytes = message[message.startIndex..<type.endIndex]
  }
}

/// A network's DNS domain.
struct NameDomain: Sendable, Hashable {
  /// In lower case.
  private let labels: [[UInt8]]

  /// Nil for what is no name.
  init?(_ text: String) {
    labels = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
      .map { $0.map(Self.lowercased) }
    guard labels.allSatisfy({ (1...63).contains($0.count) }) else { return nil }
  }

  /// Whether a name is the domain's or of one in it.
  func contains(_ name: [[UInt8]]) -> Bool { name.suffix(labels.count) == labels[...] }

  /// Of a byte of a name; others than the letters of ASCII are what they are (RFC 4343).
  static func lowercased(_ byte: UInt8) -> UInt8 {
    (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
  }
}
