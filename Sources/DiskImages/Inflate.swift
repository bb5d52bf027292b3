/// Decompresses the beginning of raw deflate data (RFC 1951), and no more of it than is asked for.
///
/// Only for a look at the first sectors of a compressed disk: it is small rather than fast. Everything is bounded by `count`
/// and by the input; malformed input gives nil.
struct Inflate {
  private let input: [UInt8]
  private let count: Int
  private var position = 0
  private var output: [UInt8] = []

  private init(_ input: [UInt8], _ count: Int) {
    self.input = input
    self.count = count
  }

  /// The first `count` bytes that `input` inflates to; nil if it is malformed or gives fewer.
  static func prefix(of input: [UInt8], count: Int) -> [UInt8]? {
    var inflate = Inflate(input, count)
    do {
      try inflate.run()
    } catch {
      return nil
    }
    return inflate.output.count >= count ? Array(inflate.output.prefix(count)) : nil
  }

  private struct Malformed: Error {}

  private mutating func run() throws(Malformed) {
    var isLast = false
    while !isLast, output.count < count {
      isLast = try bits(1) == 1
      switch try bits(2) {
      case 0: try stored()
      case 1: try block(Self.fixedLiterals, Self.fixedDistances)
      case 2:
        let (literals, distances) = try dynamicCodes()
        try block(literals, distances)
      default: throw Malformed()
      }
    }
  }

  private mutating func bits(_ width: Int) throws(Malformed) -> Int {
    var value = 0
    for index in 0..<width {
      guard position / 8 < input.count else { throw Malformed() }
      value |= Int(input[position / 8] >> UInt8(position % 8) & 1) << index
      position += 1
    }
    return value
  }

  private mutating func stored() throws(Malformed) {
    position = (position + 7) / 8 * 8
    let length = try bits(16)
    guard try bits(16) == length ^ 0xFFFF else { throw Malformed() }
    for _ in 0..<length where output.count < count { output.append(UInt8(try bits(8))) }
  }

  // MARK: Huffman codes

  /// A canonical code: how many codes there are of each length, and their symbols in order.
  private struct Code {
    var counts = [Int](repeating: 0, count: 16)
    var symbols: [Int] = []

    init(_ lengths: [Int]) {
      for length in 1..<16 {
        for symbol in lengths.indices where lengths[symbol] == length {
          counts[length] += 1
          symbols.append(symbol)
        }
      }
    }
  }

  private static let fixedLiterals = Code(
    (0..<288).map { $0 < 144 ? 8 : $0 < 256 ? 9 : $0 < 280 ? 7 : 8 })
  private static let fixedDistances = Code([Int](repeating: 5, count: 30))

  private mutating func symbol(_ code: Code) throws(Malformed) -> Int {
    var (value, first, index) = (0, 0, 0)
    for length in 1..<16 {
      value |= try bits(1)
      let count = code.counts[length]
      if value - first < count {
        let place = index + value - first
        guard code.symbols.indices.contains(place) else { throw Malformed() }
        return code.symbols[place]
      }
      index += count
      first = (first + count) << 1
      value <<= 1
    }
    throw Malformed()
  }

  private static let order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]

  private mutating func dynamicCodes() throws(Malformed) -> (Code, Code) {
    let literals = try bits(5) + 257
    let distances = try bits(5) + 1
    let lengthCodes = try bits(4) + 4
    var lengths = [Int](repeating: 0, count: 19)
    for index in 0..<lengthCodes { lengths[Self.order[index]] = try bits(3) }
    let code = Code(lengths)
    lengths = []
    while lengths.count < literals + distances {
      switch try symbol(code) {
      case 16:
        guard let last = lengths.last else { throw Malformed() }
        lengths += [Int](repeating: last, count: 3 + (try bits(2)))
      case 17: lengths += [Int](repeating: 0, count: 3 + (try bits(3)))
      case 18: lengths += [Int](repeating: 0, count: 11 + (try bits(7)))
      case let length: lengths.append(length)
      }
    }
    guard lengths.count == literals + distances else { throw Malformed() }
    return (Code(Array(lengths[..<literals])), Code(Array(lengths[literals...])))
  }

  // MARK: Compressed blocks

  private static let lengthBase = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258,
  ]
  private static let lengthBits = [
    0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
  ]

  private mutating func block(_ literals: Code, _ distances: Code) throws(Malformed) {
    while output.count < count {
      let symbol = try symbol(literals)
      if symbol == 256 { return }
      if symbol < 256 {
        output.append(UInt8(symbol))
        continue
      }
      guard symbol < 286 else { throw Malformed() }
      let length = Self.lengthBase[symbol - 257] + (try bits(Self.lengthBits[symbol - 257]))
      let code = try self.symbol(distances)
      guard code < 30 else { throw Malformed() }
      // RFC 1951, 3.2.5: 1, 2, 3, 4, then two codes for each number of extra bits.
      let extra = max(0, code / 2 - 1)
      let base = code < 2 ? code + 1 : (2 + code % 2) << extra + 1
      let distance = base + (try bits(extra))
      guard distance <= output.count else { throw Malformed() }
      for _ in 0..<length { output.append(output[output.count - distance]) }
    }
  }
}
