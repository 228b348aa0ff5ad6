"""What several scenes are composed of: joints, boards, conductors, dies, bonds, marks."""
