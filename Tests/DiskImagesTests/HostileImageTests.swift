import DiskImageTestSupport
import Testing

@testable import DiskImages

@Suite("Hostile images")
struct HostileImageTests {
  @Test("is refused, and for the right reason", arguments: HostileImage.all)
  func refused(_ image: HostileImage) {
    #expect(refusal(of: image.bytes) == image.code)
  }

  @Test("limits decide: size of the disk, of the file, number of clusters, tables read")
  func limits() throws {
    let image = QCOW2Bytes()
    _ = try image.inspect(ImageLimits(maxVirtualSize: 1 << 20, maxFileSize: 7 << 16, maxHostClusters: 7))
    #expect(refusal(of: image.bytes, ImageLimits(maxVirtualSize: 1 << 20 - 512)) == .virtualSizeTooLarge)
    #expect(refusal(of: image.bytes, ImageLimits(maxFileSize: 7 << 16 - 1)) == .fileTooLarge)
    #expect(refusal(of: image.bytes, ImageLimits(maxHostClusters: 6)) == .tooManyClusters)
    #expect(refusal(of: image.bytes, ImageLimits(maxTableBytes: 100_000)) == .tooMuchMetadata)
    #expect(refusal(of: [UInt8](repeating: 0, count: 1024), ImageLimits(maxVirtualSize: 512)) == .virtualSizeTooLarge)
  }

  @Test("a refusal says where, and what would work")
  func words() throws {
    var image = QCOW2Bytes()
    image.map(1, to: 1 << 40)
    let refusal = #expect(throws: ImageRefusal.self) { try image.inspect() }
    #expect(refusal?.offset == UInt64(image.l2 + 8))
    #expect(refusal?.detail.contains("upload the whole image") == true)
  }
}

@Suite("Good images, byte by byte")
struct GoodImageTests {
  @Test("versions 2 and 3 with the smallest, usual and largest clusters", arguments: [2, 3], [9, 12, 16, 21])
  func accepted(version: Int, clusterBits: Int) throws {
    let size = UInt64(8) << UInt64(clusterBits)
    let report = try QCOW2Bytes(version: version, clusterBits: clusterBits, virtualSize: size).inspect()
    #expect(report.format == .qcow2)
    #expect(report.version == version)
    #expect(report.virtualSize == size)
    #expect(report.clusterSize == 1 << UInt64(clusterBits))
    #expect(report.allocatedClusters == 2)
    #expect(report.allocatedBytes == 2 << UInt64(clusterBits))
    #expect(!report.isCompressed)
    #expect(report.partitionTable == .none)
  }

  @Test("compressed clusters may share a cluster of the file, each with data of its own")
  func compressed() throws {
    var image = QCOW2Bytes(dataClusters: 1)
    for cluster in 0..<16 { image.map(cluster, to: image.compressedEntry(at: image.data + 100 * cluster)) }
    image.count(5, as: 16)
    let report = try image.inspect()
    #expect(report.compressedClusters == 16)
    #expect(report.allocatedClusters == 16)
    #expect(report.compression == .zlib)
    // The data is zeros, which is no deflate data.
    #expect(report.partitionTable == .unknown)
  }

  @Test("a partition table is found in the first cluster")
  func partitions() throws {
    var image = QCOW2Bytes()
    image.bytes[image.data + 510] = 0x55
    image.bytes[image.data + 511] = 0xAA
    #expect(try image.inspect().partitionTable == .none)
    image.bytes[image.data + 450] = 0x83
    #expect(try image.inspect().partitionTable == .mbr)
    image.bytes.replaceSubrange(image.data + 512..<image.data + 520, with: Array("EFI PART".utf8))
    #expect(try image.inspect().partitionTable == .gpt)
    image.map(0, to: UInt64(image.data) | QCOW2Bytes.copied | 1)
    #expect(try image.inspect().partitionTable == .none)
  }

  @Test("what is in a version 2 header's place of version 3 fields is no field")
  func versionTwoHasNoFeatures() throws {
    var image = QCOW2Bytes(version: 2)
    image.extend(type: 0x6803_F857, [UInt8](repeating: 0xFF, count: 48))
    _ = try image.inspect()
  }

  @Test("an image without any data, and one whose last cluster is cut at the end of the disk")
  func edges() throws {
    #expect(try QCOW2Bytes(dataClusters: 0).inspect().allocatedClusters == 0)
    var cut = QCOW2Bytes(virtualSize: 65_536 + 512)
    cut.bytes.removeLast(65_536 - 512)
    #expect(try cut.inspect().allocatedBytes == 65_536 + 512)
  }

  @Test("raw images: any bytes, whole sectors, ISO 9660 noted")
  func raw() throws {
    let odd = try DiskImage.inspect(MemoryImageSource([UInt8](repeating: 7, count: 1000)))
    #expect(odd.format == .raw)
    #expect(odd.virtualSize == 1024)
    #expect(!odd.isISO9660)
    var iso = [UInt8](repeating: 0, count: 65_536)
    iso.replaceSubrange(32_768..<32_774, with: [1] + Array("CD001".utf8))
    #expect(try DiskImage.inspect(MemoryImageSource(iso)).isISO9660)
  }
}
