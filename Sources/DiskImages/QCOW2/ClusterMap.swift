/// What each cluster of the file is used for.
///
/// Two bytes for a cluster: 0 is unused, 1 is taken whole, and above that it holds compressed data of which `value - 2` runs
/// begin in it. Pages of clusters nobody uses take no memory.
struct ClusterMap {
  private static let pageEntries: UInt64 = 4096
  private static let whole: UInt16 = 1
  private static let compressed: UInt16 = 2

  let clusters: UInt64
  private var pages: [[UInt16]]

  /// For a file of so many clusters, which the limits allow.
  init(clusters: UInt64) {
    self.clusters = clusters
    pages = Array(repeating: [], count: Int((clusters + Self.pageEntries - 1) / Self.pageEntries))
  }

  /// The first used cluster in a range.
  func firstUsed(in range: Range<UInt64>) -> UInt64? {
    var cluster = range.lowerBound
    while cluster < range.upperBound {
      let page = pages[Int(cluster / Self.pageEntries)]
      let start = Int(cluster % Self.pageEntries)
      let length = min(range.upperBound - cluster, Self.pageEntries - UInt64(start))
      if let place = Self.firstUsed(page, start, Int(length)) { return cluster + UInt64(place - start) }
      cluster += length
    }
    return nil
  }

  private static func firstUsed(_ page: [UInt16], _ start: Int, _ length: Int) -> Int? {
    guard !page.isEmpty else { return nil }
    return page.withUnsafeBufferPointer { entries in
      var index = start
      while index < start + length {
        if entries[index] != 0 { return index }
        index += 1
      }
      return nil
    }
  }

  /// Takes a cluster whole. False: somebody has it, or has data in it.
  mutating func take(_ cluster: UInt64) -> Bool {
    update(cluster) { value in
      guard value == 0 else { return false }
      value = Self.whole
      return true
    }
  }

  /// How a cluster took compressed data.
  enum Sharing { case new, shared, refused, tooMany }

  /// Puts compressed data into a cluster, of which at most `limit` runs may begin there.
  mutating func share(_ cluster: UInt64, begins: Bool, limit: UInt16) -> Sharing {
    update(cluster) { value in
      guard value != Self.whole else { return .refused }
      let isNew = value == 0
      if isNew { value = Self.compressed }
      guard begins else { return isNew ? .new : .shared }
      guard value - Self.compressed < limit else { return .tooMany }
      value += 1
      return isNew ? .new : .shared
    }
  }

  private mutating func update<Result>(_ cluster: UInt64, _ change: (inout UInt16) -> Result) -> Result {
    let page = Int(cluster / Self.pageEntries)
    if pages[page].isEmpty { pages[page] = Array(repeating: 0, count: Int(Self.pageEntries)) }
    return change(&pages[page][Int(cluster % Self.pageEntries)])
  }
}
