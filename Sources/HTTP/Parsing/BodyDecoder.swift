/// Finds the end of a request body and counts it against the server's cap, whatever its framing.
package struct BodyDecoder: Equatable, Sendable {
  private enum Kind: Equatable {
    case length(remaining: Int64)
    case chunked(ChunkDecoder)
  }

  private var kind: Kind
  private let maximum: Int64
  /// The bytes of the body that have come, without framing.
  package private(set) var received: Int64 = 0

  /// Refuses a declared length above `maximum` at once.
  package init(framing: HeadLayout.Framing, maximum: Int64) throws(ParseError) {
    self.maximum = maximum
    switch framing {
    case .none: kind = .length(remaining: 0)
    case .length(let length):
      guard length <= maximum else { throw .bodyTooLarge }
      kind = .length(remaining: length)
    case .chunked: kind = .chunked(ChunkDecoder())
    }
  }

  package var isComplete: Bool {
    switch kind {
    case .length(let remaining): remaining == 0
    case .chunked(let decoder): decoder.isComplete
    }
  }

  /// What is still to come, where it was declared.
  package var remaining: Int64? {
    switch kind {
    case .length(let remaining): remaining
    case .chunked(let decoder): decoder.isComplete ? 0 : nil
    }
  }

  /// Takes bytes of `input` from `start` on; returns the offset after the last byte that belongs to the body.
  package mutating func decode(
    _ input: Span<UInt8>, from start: Int, into output: inout [UInt8]
  ) throws(ParseError) -> Int {
    let before = output.count
    let end: Int
    switch kind {
    case .length(let remaining):
      let taken = Int(min(remaining, Int64(input.count - start)))
      end = start + taken
      output.append(contentsOf: input, in: start..<end)
      kind = .length(remaining: remaining - Int64(taken))
    case .chunked(var decoder):
      end = try decoder.decode(input, from: start, into: &output)
      kind = .chunked(decoder)
    }
    received += Int64(output.count - before)
    if received > maximum { throw .bodyTooLarge }
    return end
  }
}
