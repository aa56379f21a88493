package node

// Begun is what a refused certificate says of the time.
var Begun = begun
