/// One walk through a qcow2 file: header, extensions, tables, reference counts, in this order.
struct QCOW2Inspection {
  let header: QCOW2Header
  let fileSize: UInt64
  var reader: TableReader
  var map: ClusterMap
  var allocatedClusters: UInt64 = 0
  var allocatedBytes: UInt64 = 0
  var compressedClusters: UInt64 = 0
  /// The least that all compressed data together can take, and how many clusters of the file hold any.
  var leastCompressedBytes: UInt64 = 0
  var sharedClusters: UInt64 = 0

  static func inspect(_ source: any ImageSource, _ limits: ImageLimits) throws(ImageRefusal) -> ImageReport {
    var reader = TableReader(source, budget: limits.maxTableBytes)
    let header = try QCOW2Header(&reader, limits)
    try QCOW2Extensions.check(&reader, header)
    let clusters = (source.size - 1) / header.clusterSize + 1
    guard clusters <= limits.maxHostClusters else {
      throw ImageRefusal(
        .tooManyClusters,
        "the file has \(clusters) clusters, at most \(limits.maxHostClusters) can be looked at; convert it with a larger cluster_size"
      )
    }
    var inspection = QCOW2Inspection(
      header: header, fileSize: source.size, reader: reader, map: ClusterMap(clusters: clusters))
    return try inspection.report()
  }

  private mutating func report() throws(ImageRefusal) -> ImageReport {
    guard map.take(0) else { throw ImageRefusal(.overlap, at: 0, "the header overlaps") }
    try takeTable(header.l1Offset, header.l1Entries * 8, field: 40, "the L1 table")
    try takeTable(header.refcountTableOffset, header.refcountTableBytes, field: 48, "the refcount table")
    try takeRefcountBlocks()
    try walkL1()
    try checkCompressed()
    try checkRefcounts()
    return ImageReport(
      format: .qcow2, virtualSize: header.virtualSize, fileSize: fileSize, version: header.version,
      clusterSize: header.clusterSize, allocatedClusters: allocatedClusters, allocatedBytes: allocatedBytes,
      compressedClusters: compressedClusters, compression: compressedClusters > 0 ? header.compression : nil,
      hasExtendedL2: header.hasExtendedL2, hasLazyRefcounts: header.hasLazyRefcounts,
      partitionTable: try partitionTable())
  }

  // MARK: Places

  private mutating func takeTable(
    _ offset: UInt64, _ count: UInt64, field: UInt64, _ what: String
  ) throws(ImageRefusal) {
    let first = offset / header.clusterSize
    for cluster in first..<(offset + count - 1) / header.clusterSize + 1 where !map.take(cluster) {
      throw ImageRefusal(
        .overlap, at: field, "\(what) lies where something else is, in the cluster at \(cluster * header.clusterSize)")
    }
  }

  /// Takes the cluster that a table's entry points to, of which `needed` bytes must be in the file.
  mutating func take(
    _ offset: UInt64, needed: UInt64, entryAt place: UInt64, _ what: String
  ) throws(ImageRefusal) {
    guard offset % header.clusterSize == 0 else {
      throw ImageRefusal(
        .misaligned, at: place, "\(what) is said to be at \(offset), which is no multiple of the cluster size")
    }
    // Every offset has been masked to 56 bits, but for the refcount table's; what is needed is at most one cluster.
    let (end, overflow) = offset.addingReportingOverflow(needed)
    guard offset < fileSize, !overflow, end <= fileSize else {
      throw ImageRefusal(
        .outsideFile, at: place,
        "\(what) is said to be at \(offset), but the file has \(fileSize) bytes; upload the whole image")
    }
    guard map.take(offset / header.clusterSize) else {
      throw ImageRefusal(
        .overlap, at: place,
        "\(what) is said to be at \(offset), where something else is; `qemu-img convert` makes a copy without")
    }
  }
}
