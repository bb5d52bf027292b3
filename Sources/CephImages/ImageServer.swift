import Glibc
import JSON

/// Serves one client that is on the other end of a socket, a request after the other, until that hangs up.
///
/// In a process of its own: Ceph's libraries now and then crash (16.2: a mutex that another thread has freed), and one that waits for a
/// cluster for ever can be killed.
public struct ImageServer {
  private let pool: String
  private let client: String
  private let configuration: String
  private let keyring: String
  private var connection: CephConnection?

  /// - Parameters:
  ///   - client: the cephx client, without `client.`.
  ///   - configuration: the path of the cluster's ceph.conf.
  ///   - keyring: the path of the file with the client's key.
  public init(pool: String, client: String, configuration: String, keyring: String) {
    self.pool = pool
    self.client = client
    self.configuration = configuration
    self.keyring = keyring
  }

  /// Blocks.
  public mutating func serve(_ socket: LineSocket) {
    var socket = socket
    while let line = socket.next() {
      var answer = ImageAnswer()
      do {
        try perform(try JSONCoder.decode(ImageRequest.self, from: line), &answer)
      } catch let error as CephError {
        answer = ImageAnswer(code: error.code, text: error.what)
        // The next one is another instance of the client, which the cluster does not keep out.
        if error.code == ESHUTDOWN { connection = nil }
      } catch {
        answer = ImageAnswer(code: EINVAL, text: "\(error)")
      }
      guard let bytes = try? JSONCoder.encode(answer), socket.send(bytes) else { return }
    }
  }

  private mutating func perform(_ request: ImageRequest, _ answer: inout ImageAnswer) throws(CephError) {
    let ceph = try connected()
    switch request {
    case .ask(let command): answer.text = try ceph.ask(command)
    case .names: answer.names = try ceph.names()
    case .create(let image, let sizeBytes): try ceph.create(image, sizeBytes: sizeBytes)
    case .clone(let parent, let snapshot, let image): try ceph.clone(parent, at: snapshot, as: image)
    case .rename(let image, let name): try ceph.rename(image, to: name)
    case .resize(let image, let sizeBytes): try ceph.resize(image, to: sizeBytes)
    case .usage(let image): answer.usage = try ceph.usage(of: image)
    case .watchers(let image): answer.names = try ceph.watchers(of: image)
    case .metadata(let image, let key): answer.text = try ceph.metadata(key, of: image)
    case .setMetadata(let image, let key, let value): try ceph.setMetadata(key, to: value, of: image)
    case .snapshots(let image): answer.names = try ceph.snapshots(of: image)
    case .openSnapshot(let image, let snapshot): try ceph.open(snapshot, of: image)
    case .createSnapshot(let image, let snapshot): try ceph.createSnapshot(snapshot, of: image)
    case .removeSnapshot(let image, let snapshot): try ceph.removeSnapshot(snapshot, of: image)
    }
  }

  private mutating func connected() throws(CephError) -> CephConnection {
    if let connection { return connection }
    let new = try CephConnection(pool: pool, client: client, configuration: configuration, keyring: keyring)
    connection = new
    return new
  }
}
