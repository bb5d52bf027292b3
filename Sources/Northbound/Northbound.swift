// OVN's northbound database as a function of the cloud's networks.
