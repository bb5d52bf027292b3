/// Decodes the chunked transfer coding (RFC 9112, 7.1) as its bytes come. Extensions and trailers are checked, counted
/// against a limit and dropped. The work is linear in the bytes however small the chunks are.
package struct ChunkDecoder: Equatable, Sendable {
  private enum State {
    case size, extensions, sizeLineFeed, data, dataReturn, dataLineFeed
    case trailerStart, trailerName, trailerValue, trailerLineFeed, endLineFeed, complete
  }

  private static let metadataLimit = 8 << 10
  private static let longestSize = 15

  private var state = State.size
  private var digits = 0
  private var remaining: UInt64 = 0
  private var metadata = 0

  package init() {}

  package var isComplete: Bool { state == .complete }

  /// Takes bytes of `input` from `start` on and appends the data among them to `output`. Returns the offset after the
  /// last byte taken: the end of `input`, or of the body.
  package mutating func decode(
    _ input: Span<UInt8>, from start: Int, into output: inout [UInt8]
  ) throws(ParseError) -> Int {
    var position = start
    while position < input.count, state != .complete {
      let byte = input[position]
      switch state {
      case .size:
        if let digit = byte.hexValue {
          guard digits < Self.longestSize else { throw .invalidChunkSize }
          digits += 1
          remaining = remaining << 4 | digit
        } else {
          guard digits > 0 else { throw .invalidChunkSize }
          if byte == .carriageReturn {
            state = .sizeLineFeed
          } else if byte == UInt8(ascii: ";") {
            state = .extensions
          } else {
            throw .invalidChunkSize
          }
        }
      case .extensions:
        if byte == .carriageReturn { state = .sizeLineFeed } else { try countMetadata(byte) }
      case .sizeLineFeed:
        guard byte == .lineFeed else { throw .invalidChunkSize }
        state = remaining == 0 ? .trailerStart : .data
        digits = 0
      case .data:
        let taken = Int(min(remaining, UInt64(input.count - position)))
        output.append(contentsOf: input, in: position..<position + taken)
        remaining -= UInt64(taken)
        position += taken
        if remaining == 0 { state = .dataReturn }
        continue
      case .dataReturn:
        guard byte == .carriageReturn else { throw .invalidChunk }
        state = .dataLineFeed
      case .dataLineFeed:
        guard byte == .lineFeed else { throw .invalidChunk }
        state = .size
      case .trailerStart:
        if byte == .carriageReturn {
          state = .endLineFeed
        } else {
          guard ByteSet.token.contains(byte) else { throw .invalidFieldName }
          try countMetadata(byte)
          state = .trailerName
        }
      case .trailerName:
        guard byte == .colon || ByteSet.token.contains(byte) else { throw .invalidFieldName }
        try countMetadata(byte)
        if byte == .colon { state = .trailerValue }
      case .trailerValue:
        if byte == .carriageReturn { state = .trailerLineFeed } else { try countMetadata(byte) }
      case .trailerLineFeed:
        guard byte == .lineFeed else { throw .bareLineBreak }
        state = .trailerStart
      case .endLineFeed:
        guard byte == .lineFeed else { throw .bareLineBreak }
        state = .complete
      case .complete:
        break
      }
      position += 1
    }
    return position
  }

  private mutating func countMetadata(_ byte: UInt8) throws(ParseError) {
    guard byte.isFieldValue else { throw byte == .lineFeed ? .bareLineBreak : .invalidFieldValue }
    metadata += 1
    guard metadata <= Self.metadataLimit else { throw .chunkMetadataTooLarge }
  }
}

extension [UInt8] {
  /// Appends the bytes of `span` at `range`.
  @inline(__always)
  mutating func append(contentsOf span: Span<UInt8>, in range: Range<Int>) {
    span.withUnsafeBufferPointer { append(contentsOf: UnsafeBufferPointer(rebasing: $0[range])) }
  }
}
