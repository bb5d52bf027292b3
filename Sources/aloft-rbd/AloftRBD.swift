import CephImages
import Glibc

// aloft-rbd: does with the images of one pool of a Ceph cluster what it is asked for by `ImageRequest`s on the socket that is its
// standard input. Whoever starts it is `RBDHelper`, of the agent.

@main
enum AloftRBD {
  static func main() {
    let words = CommandLine.arguments.dropFirst()
    guard words.count == 4 else {
      print("aloft-rbd is started by aloft-agent: POOL CLIENT CONFIGURATION KEYRING")
      exit(2)
    }
    var server = ImageServer(pool: words[1], client: words[2], configuration: words[3], keyring: words[4])
    server.serve(LineSocket(0))
    // Without the libraries' own end, in which they crash.
    _exit(0)
  }
}
