package cgroup

import (
	"testing"

	"airplant/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }
