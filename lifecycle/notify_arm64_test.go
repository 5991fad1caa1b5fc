package lifecycle_test

const sysMkdir = -2 // arm64 has only mkdirat
