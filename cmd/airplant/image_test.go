package main_test

import "testing"

// What people do with images apart from running them. Each story has its own
// time: they start many programs.

func TestImageNames(t *testing.T) { tell(t, "image-names.txtar") }

func TestImageSave(t *testing.T) { tell(t, "image-save.txtar") }

func TestImageCommit(t *testing.T) { tell(t, "image-commit.txtar") }

func TestImagePush(t *testing.T) { tell(t, "image-push.txtar") }

func TestImagePeers(t *testing.T) { tell(t, "image-peers.txtar") }
