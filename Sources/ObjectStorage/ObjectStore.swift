import FoundationEssentials

// The ObjectStorage module: where images and backups are kept, one protocol over a directory and over S3.
//
// Invariants
// - What has an object's name is a whole object whose size and SHA-256 were checked. An upload has no name until it is finished.
// - An upload that is cut off anywhere goes on in another process from its `UploadState`, at the byte that the state says is
//   durable. The state has the same few hundred bytes however long the upload is.
// - An object is never changed: finishing another upload under its key replaces it whole.
// - Nothing blocks the caller's thread, and nothing waits longer than the configuration says.
// - Credentials are in no error and in no log.

/// Keeps objects: named runs of bytes, written once.
public protocol ObjectStore: Sendable {
  /// Begins an upload. Nothing is visible under `key` before ``ObjectUpload/finish(size:sha256:)``.
  ///
  /// - Parameter size: the object's size where it is known. The last byte becomes durable as soon as it comes, then, and
  ///   S3 objects larger than 10 000 parts of the usual size are possible.
  func beginUpload(_ key: ObjectKey, size: Int64?) async throws(ObjectStoreError) -> any ObjectUpload

  /// Goes on with an upload of this or another process at `state.durableBytes`.
  ///
  /// Throws ``ObjectStoreError/unknownUpload`` when it is gone: finished, aborted or collected; look with ``stat(_:)``.
  /// ``ObjectStoreError/uploadInUse`` when somebody else has it (a directory knows that, S3 does not).
  /// ``ObjectStoreError/uploadDamaged`` when the store has lost some of it: begin anew.
  func resumeUpload(_ state: UploadState) async throws(ObjectStoreError) -> any ObjectUpload

  /// What is known of an object. Throws ``ObjectStoreError/notFound(_:)``.
  func stat(_ key: ObjectKey) async throws(ObjectStoreError) -> ObjectInfo

  /// Reads an object, or some of its bytes. A range that ends behind the object is cut there; one that begins behind it is
  /// refused with ``ObjectStoreError/rangeNotSatisfiable(size:)``.
  func read(_ key: ObjectKey, range: Range<Int64>?) async throws(ObjectStoreError) -> ObjectContent

  /// Removes an object. One that is not there is removed already.
  func delete(_ key: ObjectKey) async throws(ObjectStoreError)

  /// Objects whose keys begin with `prefix`, in the order of their bytes; at most `limit` (1 to 1000) at a time.
  ///
  /// - Parameter continuation: `next` of the page before.
  func list(prefix: String, continuation: String?, limit: Int) async throws(ObjectStoreError) -> ObjectPage

  /// Uploads that nobody has finished and, in a directory, nobody has open; last written to (S3: begun) before `date`.
  func leftovers(before date: Date) async throws(ObjectStoreError) -> [UploadLeftover]

  /// Removes what an upload left. One that is gone is removed already.
  func discard(_ leftover: UploadLeftover) async throws(ObjectStoreError)

  /// The file that an object is, for those who must open it by themselves; nil where objects are no files. Whether there is such
  /// an object is not looked at.
  func file(of key: ObjectKey) -> String?
}

/// An upload under way: bytes in order, then ``finish(size:sha256:)`` or ``abort()``. For one user at a time.
///
/// Letting it go without either leaves what is durable to ``ObjectStore/resumeUpload(_:)``.
public protocol ObjectUpload: Sendable {
  /// What to keep (in a database) in order to go on in another process. It changes when more is durable.
  var state: UploadState { get async }

  /// Where the next byte goes. After a failure that is where the durable bytes end: send again from there.
  var position: Int64 { get async }

  /// Takes bytes that begin at `offset` of the object, which must be ``position``: otherwise
  /// ``ObjectStoreError/wrongOffset(expected:)``, and nothing was taken.
  ///
  /// Returns how many bytes of the object are durable now. Keep ``state`` when that has grown.
  @discardableResult
  func append(_ bytes: [UInt8], at offset: Int64) async throws(ObjectStoreError) -> Int64

  /// Makes durable what can be: everything in a directory; S3 has only whole parts.
  @discardableResult
  func flush() async throws(ObjectStoreError) -> Int64

  /// Makes the object, if it has this size and SHA-256 (64 hexadecimal digits). Otherwise the upload stays as it was:
  /// ``ObjectStoreError/sizeMismatch(expected:actual:)`` can be mended by appending, a wrong checksum only by a new upload.
  func finish(size: Int64, sha256: String) async throws(ObjectStoreError) -> ObjectInfo

  /// The SHA-256 of everything that was appended, in hexadecimal: for uploads whose sender does not know it before.
  var sha256: String { get async }

  /// Removes the upload and all of its bytes.
  func abort() async throws(ObjectStoreError)
}

extension ObjectStore {
  /// Objects are no files.
  public func file(of key: ObjectKey) -> String? { nil }

  /// Begins an upload of unknown size.
  public func beginUpload(_ key: ObjectKey) async throws(ObjectStoreError) -> any ObjectUpload {
    try await beginUpload(key, size: nil)
  }

  /// Reads a whole object.
  public func read(_ key: ObjectKey) async throws(ObjectStoreError) -> ObjectContent { try await read(key, range: nil) }

  /// The first objects whose keys begin with `prefix`.
  public func list(prefix: String = "", limit: Int = 1000) async throws(ObjectStoreError) -> ObjectPage {
    try await list(prefix: prefix, continuation: nil, limit: limit)
  }

  /// Reads the object back and compares: for backups before they are relied upon.
  ///
  /// Throws ``ObjectStoreError/sizeMismatch(expected:actual:)`` or ``ObjectStoreError/checksumMismatch(expected:actual:)``.
  public func verify(_ key: ObjectKey, size: Int64, sha256: String) async throws(ObjectStoreError) {
    let content = try await read(key, range: nil)
    guard content.info.size == size else { throw .sizeMismatch(expected: size, actual: content.info.size) }
    let hashing = HashingThread()
    for try await bytes in content { await hashing.add(bytes) }
    let digest = await hashing.digest
    guard digest == sha256.lowercased() else { throw .checksumMismatch(expected: sha256.lowercased(), actual: digest) }
  }
}
