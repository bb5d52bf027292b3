import Foundation
import Libvirt
import LibvirtTestSupport
import TestSupport
import Testing
import XMLBuilder

@Suite struct StorageTests {
  /// A started directory pool of its own on the shared libvirtd.
  private func makePool(_ name: String) async throws -> StoragePool {
    let libvirt = try await PrivateLibvirt.shared()
    let connection = try await Connection.open(libvirt.uri)
    let xml = XML.element("pool", ["type": "dir"]) {
      XML.element("name", text: name)
      XML.element("target") { XML.element("path", text: libvirt.directory.appending(path: "pool-\(name)").path) }
    }
    let pool = try await connection.defineStoragePool(xml.string)
    try await pool.build()
    try await pool.start()
    return pool
  }

  private func volumeXML(_ name: String, bytes: UInt64, format: String, backing: String? = nil) -> String {
    XML.element("volume") {
      XML.element("name", text: name)
      XML.element("capacity", ["unit": "bytes"], text: bytes)
      XML.element("allocation", text: 0)
      XML.element("target") { XML.element("format", ["type": format]) }
      if let backing {
        XML.element("backingStore") {
          XML.element("path", text: backing)
          XML.element("format", ["type": "qcow2"])
        }
      }
    }.string
  }

  @Test("an uploaded image is found to be qcow2, cloned thinly, grown, and comes back unchanged")
  func images() async throws {
    let pool = try await makePool("images")
    #expect(try await pool.info().state == .running)
    let image = try await GuestImage.path()
    let size = try #require(try FileManager.default.attributesOfItem(atPath: image)[.size] as? Int)

    let volume = try await pool.createVolume(volumeXML("image", bytes: UInt64(size), format: "raw"))
    await expect(.storageVolumeExists) {
      _ = try await pool.createVolume(volumeXML("image", bytes: 1, format: "raw"))
    }
    let source = try FileHandle(forReadingFrom: URL(fileURLWithPath: image))
    try await volume.upload(from: source)
    try await pool.refresh()
    #expect(try ParsedXML(try await volume.xml()).text("/volume/target/format/@type") == "qcow2")

    let path = try await volume.path()
    let clone = try await pool.createVolume(volumeXML("clone", bytes: 256 << 20, format: "qcow2", backing: path))
    try await clone.resize(bytes: 512 << 20)
    let info = try await clone.info()
    #expect(info.capacity == 512 << 20 && info.allocation < 1 << 20)
    #expect(Set(try await pool.volumes().map(\.name)) == ["image", "clone"])

    let copy = path + ".copy"
    try Data().write(to: URL(fileURLWithPath: copy))
    try await volume.download(to: try FileHandle(forWritingTo: URL(fileURLWithPath: copy)))
    try await run("cmp", image, copy)

    try await clone.delete()
    await expect(.noStorageVolume) { _ = try await clone.info() }
  }

  @Test("a cancelled upload ends as aborted")
  func cancelledUpload() async throws {
    let pool = try await makePool("cancelled")
    let volume = try await pool.createVolume(volumeXML("endless", bytes: 1 << 40, format: "raw"))
    // A pipe nobody closes: the upload can only end by being cancelled.
    let pipe = Pipe()
    let upload = Task { try await volume.upload(from: pipe.fileHandleForReading) }
    try pipe.fileHandleForWriting.write(contentsOf: Data(repeating: 1, count: 4096))
    upload.cancel()
    // Wakes a read that began before the cancellation; what comes next sees it.
    try pipe.fileHandleForWriting.write(contentsOf: Data(repeating: 1, count: 4096))
    do {
      try await upload.value
      Issue.record("a cancelled upload returned as if complete")
    } catch let error as LibvirtError {
      #expect(error.code == .operationAborted)
    }
    try await volume.delete()
  }

  @Test("a pool that is not there is noStoragePool, and one that was undefined is gone")
  func pools() async throws {
    let pool = try await makePool("short")
    #expect(try await pool.connection.storagePools().contains { $0.name == "short" })
    try await pool.stop()
    #expect(try await pool.info().state == .inactive)
    try await pool.undefine()
    await expect(.noStoragePool) { _ = try await pool.info() }
  }
}
